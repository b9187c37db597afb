// Prints a served feed as a table that a person can read. Called by the demo.

/** The part of an answer of GET /feed/:userId that the table shows. */
export interface PrintedPost {
  id: string;
  position: number;
  score: number;
  sources: string[];
  why: string;
  post: {
    title?: string | null;
    text?: string | null;
    authorId: string;
    topic?: string | null;
    createdAt: number;
  } | null;
}

interface Column {
  title: string;
  width: number;
  align?: 'right';
  cell: (post: PrintedPost, nowMs: number) => string;
}

const COLUMNS: Column[] = [
  { title: '#', width: 2, align: 'right', cell: (post) => String(post.position + 1) },
  {
    title: 'title',
    width: 56,
    cell: ({ post }) => (post?.title || post?.text || '(no text)').replace(/\s+/g, ' '),
  },
  { title: 'author', width: 16, cell: ({ post }) => post?.authorId ?? '' },
  { title: 'topic', width: 22, cell: ({ post }) => post?.topic ?? '' },
  {
    title: 'age',
    width: 4,
    align: 'right',
    cell: ({ post }, nowMs) => (post ? age(nowMs - post.createdAt) : ''),
  },
  { title: 'source', width: 19, cell: ({ sources }) => sources.join('+') },
  { title: 'score', width: 6, align: 'right', cell: ({ score }) => score.toFixed(2) },
  { title: 'why', width: 40, cell: ({ why }) => why },
];

export function feedTable(posts: readonly PrintedPost[], nowMs: number): string {
  const line = (cells: string[]) => `  ${cells.join('  ').trimEnd()}`;
  const header = line(COLUMNS.map(({ title, width, align }) => clip(title, width, align)));
  const rule = line(COLUMNS.map(({ width }) => '─'.repeat(width)));
  const rows = posts.map((post) =>
    line(COLUMNS.map(({ cell, width, align }) => clip(cell(post, nowMs), width, align))),
  );
  return [header, rule, ...rows].join('\n');
}

/** `45m`, `7h`, `3d`. */
export function age(ms: number): string {
  const minutes = Math.max(0, Math.round(ms / 60_000));
  if (minutes < 60) return `${minutes}m`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours}h` : `${Math.round(hours / 24)}d`;
}

function clip(text: string, width: number, align?: 'right'): string {
  const characters = [...text];
  if (characters.length > width) return `${characters.slice(0, width - 1).join('')}…`;
  return align === 'right' ? text.padStart(width) : text + ' '.repeat(width - characters.length);
}
