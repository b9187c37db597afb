// Picks users of a generated world whose feeds are worth a look, and says what they lately liked.
import { ENGAGEMENT_CODES, engagementCode } from '../../src/vocabulary.ts';
import type { World } from '../generate/world.ts';

export interface Reader {
  id: string;
  /** For a person: languages, follows, and the topics of the newest engagements. */
  description: string;
}

const NEWEST = 30;
const MIN_ENGAGEMENTS = 15;

/** The first `count` users with enough engagements whose favourite topics differ. */
export function pickReaders(world: World, count: number): Reader[] {
  const readers: Reader[] = [];
  const favourites = new Set<string>();
  for (let user = 0; user < world.options.users && readers.length < count; user++) {
    const engaged = world
      .eventsOf(user)
      .filter(({ type, dwellMs }) => isPositive(engagementCode(type, dwellMs ?? 0)))
      .slice(-NEWEST);
    const topics = new Map<string, number>();
    for (const { postId } of engaged) {
      const topic = world.post(world.postIndex(postId)).topic;
      if (topic) topics.set(topic, (topics.get(topic) ?? 0) + 1);
    }
    const ordered = [...topics].sort((a, b) => b[1] - a[1]).slice(0, 4);
    if (engaged.length < MIN_ENGAGEMENTS || favourites.has(ordered[0][0])) continue;
    favourites.add(ordered[0][0]);
    const { id, languages } = world.user(user);
    const liked = ordered.map(([topic, times]) => `${topic} ×${times}`).join(', ');
    readers.push({
      id,
      description: `reads ${languages?.join(', ') || 'anything'}; lately engaged with ${liked}`,
    });
  }
  return readers;
}

function isPositive(code: number): boolean {
  return code !== ENGAGEMENT_CODES.none && code !== ENGAGEMENT_CODES.negative;
}
