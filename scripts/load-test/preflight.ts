// Before the load: is the service ready, what is it, which profiles do the most asked-for users have, and which posts
// can the first events be about. A few requests, one after the other. Called by run.ts.
import { judgeFeed, type Profile, type Served } from './answer-checker.ts';
import type { Target } from './loopback.ts';
import { type UserNames, userCount, userOfRank } from './traffic.ts';

export interface ServiceFacts {
  model: string;
  index: string;
  search: string;
  posts: number | null;
  stores: Record<string, string>;
}

export interface Preflight {
  facts: ServiceFacts;
  profiles: Record<string, Profile>;
  served: Served[];
}

const REQUEST_MS = 10_000;
const FIRST_FEEDS = 8;

interface UserBody {
  user: { showSensitive?: boolean } | null;
  blocks: string[];
  mutes: Profile['mutes'];
}

/**
 * Reads the profiles of the `profiles` users that Zipf asks for most often.
 * @throws Error when the service is not ready or the first feeds are not right.
 */
export async function preflight(
  target: Target,
  options: { users: UserNames; posts: number; profiles: number; apiKey?: string },
): Promise<Preflight> {
  const get = (url: string) => ask(url, options.apiKey);
  const ready = await get(`${target.base}/health/ready`);
  if (ready.status !== 200) {
    const { reasons } = readJson(ready.body) as { reasons?: string[] };
    throw new Error(`the service is not ready: ${reasons?.join(', ') || `status ${ready.status}`}`);
  }
  const { index, stores } = readJson(ready.body) as {
    index?: { posts?: number };
    stores?: Record<string, string>;
  };
  const served: Served[] = [];
  let facts: ServiceFacts | undefined;
  const count = userCount(options.users);
  for (let rank = 1; rank <= Math.min(FIRST_FEEDS, count); rank++) {
    const userId = userOfRank(options.users, rank);
    const answer = await get(feedUrl(target, userId, options.posts));
    const judgement = judgeFeed(answer, { userId, posts: options.posts, exclusions: null });
    if (judgement.verdict === 'wrong' || answer.status !== 200) {
      throw new Error(`the feed of ${userId} is not right before any load: ${judgement.causes.join(', ')}`);
    }
    if (judgement.served) served.push(judgement.served);
    const body = readJson(answer.body) as { model: string; index: string; search: string };
    facts ??= {
      model: body.model,
      index: body.index,
      search: body.search,
      posts: index?.posts ?? null,
      stores: stores ?? {},
    };
  }
  return { facts: facts!, profiles: await readProfiles(target, options, get), served };
}

function feedUrl({ base }: Target, userId: string, posts: number): string {
  return `${base}/feed/${encodeURIComponent(userId)}?limit=${posts}`;
}

async function readProfiles(
  { base }: Target,
  { users, profiles: wanted }: { users: UserNames; profiles: number },
  get: (url: string) => ReturnType<typeof ask>,
): Promise<Record<string, Profile>> {
  const profiles: Record<string, Profile> = {};
  for (let rank = 1; rank <= Math.min(wanted, userCount(users)); rank++) {
    const userId = userOfRank(users, rank);
    const { status, body } = await get(`${base}/users/${encodeURIComponent(userId)}`);
    if (status === 404) continue;
    if (status !== 200) throw new Error(`GET /users/${userId} answered ${status}`);
    const { user, blocks, mutes } = readJson(body) as UserBody;
    profiles[userId] = { blocks, mutes, showSensitive: user?.showSensitive === true };
  }
  return profiles;
}

async function ask(url: string, apiKey: string | undefined) {
  let response: Response;
  try {
    response = await fetch(url, {
      headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.timeout(REQUEST_MS),
    });
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).message;
    throw new Error(`no answer from ${url}: ${cause}`);
  }
  const body = Buffer.from(await response.arrayBuffer());
  const retryAfter = response.headers.get('retry-after');
  return { status: response.status, retryAfter: retryAfter === null ? null : Number(retryAfter), body };
}

function readJson(body: Buffer): object {
  try {
    return Object(JSON.parse(body.toString()));
  } catch {
    return {};
  }
}
