// `<modelsDir>/rollout.json`: which version of which model is on trial and what was refused, with the reason; beside it
// `history.jsonl`, one line a change. Shared by all replicas and the command; `<name>/current` says what is promoted.
// What happens to an index or to rules stands in a history of the same form in the folder of data.
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FeedrankError, messageOf } from '../../errors.ts';
import { writeAtomically } from './atomic-write.ts';
import { withRegistryLock } from './registry-lock.ts';

const STATE_FILE = 'rollout.json';
const HISTORY_FILE = 'history.jsonl';
const LOCK_FILE = 'rollout.lock';
/** What `readHistory` looks through from the end. */
const HISTORY_TAIL_BYTES = 1 << 20;

const trialSchema = z.strictObject({
  version: z.string(),
  stage: z.enum(['shadow', 'canary']),
  /** Share of the users that a canary serves; 0 in shadow. */
  share: z.number().min(0).max(1),
  sinceMs: z.number(),
});

const modelSchema = z.strictObject({
  trial: trialSchema.nullable(),
  /** What was promoted before: the way back. */
  previous: z.string().nullable(),
  promotedAtMs: z.number().nullable(),
  refused: z.record(z.string(), z.strictObject({ reason: z.string(), atMs: z.number() })),
});

const stateSchema = z.strictObject({
  /** Grows with every change. */
  revision: z.number().int().nonnegative(),
  models: z.record(z.string(), modelSchema),
});

export type Trial = z.infer<typeof trialSchema>;
export type ModelState = z.infer<typeof modelSchema>;
export type RolloutState = z.infer<typeof stateSchema>;

export interface HistoryEntry {
  /** ISO 8601. */
  at: string;
  kind: 'model' | 'index' | 'rules' | 'experiments';
  name: string;
  version: string;
  action: 'shadow' | 'canary' | 'promoted' | 'rolled_back' | 'refused' | 'withdrawn';
  /** What served before. */
  from?: string;
  share?: number;
  reason?: string;
  /** `auto`, `operator`, `trainer`. */
  by: string;
}

export const NO_MODEL_STATE: ModelState = { trial: null, previous: null, promotedAtMs: null, refused: {} };

export function modelState(state: RolloutState, name: string): ModelState {
  return Object.hasOwn(state.models, name) ? state.models[name] : NO_MODEL_STATE;
}

/** The state, empty where nothing was ever staged. @throws FeedrankError(corrupt_artifact) naming what is wrong in it. */
export async function readRolloutState(modelsDir: string): Promise<RolloutState> {
  const path = join(modelsDir, STATE_FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { revision: 0, models: {} };
    throw error;
  }
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch (error) {
    const issue = error instanceof z.ZodError ? error.issues[0] : null;
    const reason = issue ? `${issue.path.join('.')}: ${issue.message}` : messageOf(error);
    throw new FeedrankError('corrupt_artifact', `${STATE_FILE}: ${reason}`);
  }
}

/**
 * Reads, changes and writes the state of one model, or of the rules, under the registry's lock, and appends what `change` returns to the
 * history. null from `change` = nothing to do.
 * @throws what `change` throws, the state then is as it was; FeedrankError(locked); (unavailable) on a folder that
 * cannot be written.
 */
export async function changeModelState(
  modelsDir: string,
  name: string,
  change: (
    before: ModelState,
  ) => Promise<{ after: ModelState; entry: Omit<HistoryEntry, 'at' | 'kind' | 'name'> } | null>,
  kind: HistoryEntry['kind'] = 'model',
): Promise<HistoryEntry | null> {
  return writing(modelsDir, async () => {
    const state = await readRolloutState(modelsDir);
    const changed = await change(modelState(state, name));
    if (changed === null) return null;
    const next: RolloutState = {
      revision: state.revision + 1,
      models: { ...state.models, [name]: changed.after },
    };
    await writeAtomically(join(modelsDir, STATE_FILE), `${JSON.stringify(next, null, 2)}\n`);
    const entry: HistoryEntry = { at: new Date().toISOString(), kind, name, ...changed.entry };
    await appendLine(modelsDir, entry);
    return entry;
  });
}

/** Notes what happened to something that has no stage here: an index version, a rules file. */
export async function appendHistory(dir: string, entry: Omit<HistoryEntry, 'at'>): Promise<void> {
  await writing(dir, () => appendLine(dir, { at: new Date().toISOString(), ...entry }));
}

/** The newest `limit` entries of the folders' histories, newest first; lines that are torn or not ours are passed over. */
export async function readHistory(dirs: readonly string[], limit = 100): Promise<HistoryEntry[]> {
  const histories = await Promise.all([...new Set(dirs)].map((dir) => readOne(dir, limit)));
  // ISO times sort as text; the sort is stable, so that what happened within a millisecond keeps its order.
  const newestFirst = histories.flat().sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0));
  return newestFirst.slice(0, limit);
}

async function readOne(dir: string, limit: number): Promise<HistoryEntry[]> {
  let text: string;
  try {
    const file = await open(join(dir, HISTORY_FILE), 'r');
    try {
      const { size } = await file.stat();
      const from = Math.max(0, size - HISTORY_TAIL_BYTES);
      const buffer = Buffer.alloc(size - from);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
      text = buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const entries: HistoryEntry[] = [];
  const lines = text.split('\n');
  for (let i = lines.length - 1; i >= 0 && entries.length < limit; i--) {
    try {
      const entry = JSON.parse(lines[i]) as HistoryEntry;
      const { at, action, name } = entry;
      if ([at, action, name].every((field) => typeof field === 'string')) entries.push(entry);
    } catch {
      // The last line of a process that died while it wrote, or the cut at the beginning.
    }
  }
  return entries;
}

async function appendLine(dir: string, entry: HistoryEntry): Promise<void> {
  const file = await open(join(dir, HISTORY_FILE), 'a+');
  try {
    const { size } = await file.stat();
    // A torn last line ends here, so that it costs itself only.
    const last = Buffer.alloc(1);
    if (size > 0) await file.read(last, 0, 1, size - 1);
    const before = size > 0 && last[0] !== 10 ? '\n' : '';
    await file.appendFile(`${before}${JSON.stringify(entry)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function writing<T>(dir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await withRegistryLock(join(dir, LOCK_FILE), work);
  } catch (error) {
    if (error instanceof FeedrankError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new FeedrankError('unavailable', `${dir} cannot be written: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
