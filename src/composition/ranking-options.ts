// How feed workers rank, from the configuration: form of the model, pre-ranking, sharing of rows. Called by compose.ts.
import type { Config } from '../config.ts';
import { ChunkBoard } from '../ranking/chunk-board.ts';
import type { RankerSource } from '../ranking/model-registry.ts';

/** Workers that may start in place of others before sharing ends: a slot does not outlive its worker. */
const SPARE_SLOTS = 30;

export function rankingOptions(
  config: Pick<Config, 'RANKER_INT8' | 'PRE_RANK' | 'FORK_JOIN' | 'FEED_WORKERS'>,
): Pick<RankerSource, 'int8' | 'preRank' | 'board'> {
  const { RANKER_INT8: int8, PRE_RANK: preRank, FORK_JOIN, FEED_WORKERS: workers } = config;
  const shared = FORK_JOIN && workers > 1;
  return { int8, preRank, ...(shared ? { board: ChunkBoard.allocate(workers + SPARE_SLOTS) } : {}) };
}
