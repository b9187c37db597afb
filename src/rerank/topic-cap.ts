// Hard cap on posts of one topic in any window of consecutive positions; posts without a topic are free.
import type { Draft } from './draft.ts';
import type { CapConfig } from './rules-config.ts';
import { WindowCap } from './window-cap.ts';

/** null when the config sets no cap. */
export function topicCap(draft: Draft, { window, perWindow }: CapConfig): WindowCap | null {
  return perWindow === null ? null : new WindowCap('topic-cap', draft.topics, window, perWindow);
}
