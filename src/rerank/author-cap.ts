// Hard cap on posts of one author in any window of consecutive positions.
import type { Draft } from './draft.ts';
import type { CapConfig } from './rules-config.ts';
import { WindowCap } from './window-cap.ts';

/** null when the config sets no cap. */
export function authorCap(draft: Draft, { window, perWindow }: CapConfig): WindowCap | null {
  return perWindow === null ? null : new WindowCap('author-cap', draft.authors, window, perWindow);
}
