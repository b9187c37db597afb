// A rule about where posts may stand: asked before each position is filled, told what was placed.

export interface Constraint {
  readonly name: string;
  /** At least as many unplaced items as it allows next: at 0 nothing is searched for one. */
  readonly open: number;
  /** May this item be placed next? */
  allows(item: number): boolean;
  placed(item: number): void;
}
