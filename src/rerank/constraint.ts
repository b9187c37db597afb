// A rule about where posts may stand: asked before each position is filled, told what was placed.

export interface Constraint {
  readonly name: string;
  /** May this item be placed next? */
  allows(item: number): boolean;
  placed(item: number): void;
}
