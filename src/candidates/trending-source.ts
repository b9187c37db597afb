// Posts with the most engagement now, in the user's languages, those of the user's topics first.
import type { Catalogue, FeedQuery, Hits } from '../contracts.ts';
import { ENGAGEMENT_CODES } from '../vocabulary.ts';
import type { AgeWindow, CandidateSource } from './source.ts';
import { TopRows } from './top-rows.ts';
import type { BoardList, TrendingBoard } from './trending-board.ts';

export class TrendingSource implements CandidateSource {
  readonly name = 'trending';
  readonly #board: TrendingBoard;
  readonly #topicBoost: number;
  #best = new TopRows(0);

  constructor(board: TrendingBoard, topicBoost: number) {
    this.#board = board;
    this.#topicBoost = topicBoost;
  }

  retrieve(query: FeedQuery, catalogue: Catalogue, window: AgeWindow, quota: number, out: Hits): void {
    this.#board.advance(catalogue, query.nowMs);
    if (this.#best.capacity !== quota) this.#best = new TopRows(quota);
    this.#best.clear();
    const topics = topicsOf(query);
    const languages = query.user.languages;
    if (languages.length === 0) this.#offer(this.#board.list(null), window, topics);
    else for (const code of new Set([0, ...languages])) this.#offer(this.#board.list(code), window, topics);
    this.#best.drain(out);
  }

  #offer(list: BoardList | undefined, window: AgeWindow, topics: Set<number>): void {
    if (!list) return;
    for (let i = 0; i < list.hits.size; i++) {
      const row = list.hits.rows[i];
      // Falling scores: nothing further down can enter, boosted or not.
      if (list.scores[i] * this.#topicBoost < this.#best.threshold) return;
      if (row < window.firstRow) continue;
      const own = topics.has(list.topics[i]);
      this.#best.offer(row, own ? list.scores[i] * this.#topicBoost : list.scores[i]);
    }
  }
}

/** Topics the user chose or engaged with; 0 (no topic) is none. */
function topicsOf(query: FeedQuery): Set<number> {
  const { interestTopics, historyTopics, historyTypes } = query.user;
  const topics = new Set<number>(interestTopics);
  for (let i = 0; i < historyTopics.length; i++) {
    if (historyTypes[i] !== ENGAGEMENT_CODES.negative) topics.add(historyTopics[i]);
  }
  topics.delete(0);
  return topics;
}
