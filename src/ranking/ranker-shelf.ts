// The rankers that one feed worker has open: the version that serves, the light one, and those on trial, in experiments
// or being drained. A version goes when the plan no longer names it and its last request is done. One in each worker.
import { messageOf } from '../errors.ts';
import type { OpenedModel } from './device/device-host.ts';
import type { ChunkModel, ForkJoin } from './fork-join.ts';
import { LIGHT_RANKER, MAIN_RANKER, openServable, type RankerSource } from './model-registry.ts';
import type { ServableRanker } from './ranker.ts';
import { RankerLadder } from './ranker-ladder.ts';

/** What every worker is to have open; made on the main thread. */
export interface RankerPlan {
  /** null = no version can serve. */
  serving: string | null;
  light: string | null;
  /** Versions of the main ranker beside `serving`. */
  others: readonly string[];
  /** Versions of the main ranker on the device, where there is one. */
  device?: Readonly<Record<string, OpenedModel>>;
}

export interface ShelfReport {
  /** Versions of the main ranker that are open now. */
  open: string[];
  light: string | null;
  /** `ranker@1 on cpu`, …: what serves. */
  models: string[];
  refused: { name: string; version: string; reason: string }[];
  /** What serves otherwise than configured. */
  problems: string[];
}

export interface RankerLease {
  ladder: RankerLadder;
  /** Version of the main ranker; null where none is open. */
  version: string | null;
  release(): void;
}

interface Slot {
  ranker: ServableRanker;
  problems: string[];
  uses: number;
  retired: boolean;
}

export class RankerShelf {
  readonly #source: RankerSource;
  readonly #fork: ForkJoin | null;
  readonly #main = new Map<string, Slot>();
  #light: { version: string; slot: Slot } | null = null;
  #serving: string | null = null;
  /** Plans are carried out one after another. */
  #tail: Promise<unknown> = Promise.resolve();

  /** `fork`: what long runs are shared by; null = they are not. */
  constructor(source: RankerSource, fork: ForkJoin | null = null) {
    this.#source = source;
    this.#fork = fork;
  }

  /**
   * Opens what the plan names and is not open, then lets go of the rest. Never rejects: what cannot be opened is
   * reported, and a version that serves goes on until its successor is open. `warm` runs a version that was just
   * opened; what it throws refuses the version.
   */
  apply(plan: RankerPlan, warm?: (version: string) => Promise<void>): Promise<ShelfReport> {
    const work = this.#tail.then(() => this.#apply(plan, warm));
    this.#tail = work.catch(() => {});
    return work;
  }

  /** Resolves when every plan that was given so far is carried out. */
  async settled(): Promise<void> {
    await this.#tail;
  }

  /** The ladder of a version, open until released; the serving one where none is named or the named one is gone. */
  lease(version?: string): RankerLease {
    const asked = version !== undefined && this.#main.has(version) ? version : this.#serving;
    const slots = [asked === null ? undefined : this.#main.get(asked), this.#light?.slot];
    for (const slot of slots) if (slot) slot.uses++;
    const [main, light] = slots.map((slot) => slot?.ranker ?? null);
    let released = false;
    return {
      ladder: new RankerLadder({
        main,
        light,
        onCpu: main !== null && main.provider !== this.#source.provider,
        preRank: this.#source.preRank ?? main?.preRank,
      }),
      version: main === null ? null : asked,
      release: () => {
        if (released) return;
        released = true;
        for (const slot of slots) if (slot) this.#unuse(slot);
      },
    };
  }

  /** A model that is open here, for chunks of another worker's request; null where there is none of this key. */
  lend(key: number): ChunkModel | null {
    for (const slot of [...this.#main.values(), ...(this.#light ? [this.#light.slot] : [])]) {
      const { ranker } = slot;
      if (ranker.shareKey !== key || !ranker.runShared) continue;
      slot.uses++;
      return {
        run: (features, rows, user) => ranker.runShared!(features, rows, user),
        release: () => this.#unuse(slot),
      };
    }
    return null;
  }

  async #apply(plan: RankerPlan, warm?: (version: string) => Promise<void>): Promise<ShelfReport> {
    const refused: ShelfReport['refused'] = [];
    const wanted = new Set([...(plan.serving === null ? [] : [plan.serving]), ...plan.others]);
    for (const version of wanted) {
      if (this.#main.has(version)) continue;
      try {
        this.#main.set(version, await this.#open(MAIN_RANKER, version, plan.device?.[version]));
        await warm?.(version);
      } catch (error) {
        this.#retire(version);
        refused.push({ name: MAIN_RANKER, version, reason: messageOf(error) });
      }
    }
    await this.#applyLight(plan.light, refused);
    if (plan.serving === null || this.#main.has(plan.serving)) this.#serving = plan.serving;
    for (const version of [...this.#main.keys()]) {
      if (!wanted.has(version) && version !== this.#serving) this.#retire(version);
    }
    return this.#report(refused);
  }

  async #applyLight(version: string | null, refused: ShelfReport['refused']): Promise<void> {
    const before = this.#light;
    if (before?.version === version) return;
    try {
      // The light model is what serves when the device is in trouble: it stays on the CPU.
      this.#light = version === null ? null : { version, slot: await this.#open(LIGHT_RANKER, version) };
      if (before) this.#retireSlot(before.slot);
    } catch (error) {
      refused.push({ name: LIGHT_RANKER, version: version ?? '', reason: messageOf(error) });
    }
  }

  async #open(name: string, version: string, opened?: OpenedModel): Promise<Slot> {
    const problems: string[] = [];
    const source = name === LIGHT_RANKER ? { ...this.#source, provider: 'cpu' as const } : this.#source;
    const ranker = await openServable(source, name, version, problems, opened);
    if (this.#fork) ranker.shareBy?.(this.#fork);
    return { ranker, problems, uses: 0, retired: false };
  }

  #retire(version: string): void {
    const slot = this.#main.get(version);
    this.#main.delete(version);
    if (slot) this.#retireSlot(slot);
  }

  #retireSlot(slot: Slot): void {
    slot.retired = true;
    if (slot.uses === 0) void slot.ranker.release().catch(() => {});
  }

  #unuse(slot: Slot): void {
    slot.uses--;
    if (slot.retired && slot.uses === 0) void slot.ranker.release().catch(() => {});
  }

  #report(refused: ShelfReport['refused']): ShelfReport {
    const main = this.#serving === null ? undefined : this.#main.get(this.#serving);
    const serving = [main, this.#light?.slot].filter((slot) => slot !== undefined);
    return {
      open: [...this.#main.keys()],
      light: this.#light?.version ?? null,
      models: serving.map(({ ranker }) => `${ranker.model} on ${ranker.provider}`),
      refused,
      problems: serving.flatMap(({ problems }) => problems),
    };
  }
}
