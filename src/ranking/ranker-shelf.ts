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
  /** Version of the light ranker on trial beside it, if any. */
  lightTrial?: string | null;
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
  readonly #lights = new Map<string, Slot>();
  /** Version of the light ranker that serves. */
  #light: string | null = null;
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

  /** The ladder of a version, open until released; the serving ones where none is named or the named one is gone. */
  lease(version?: string, lightVersion?: string): RankerLease {
    const asked = version !== undefined && this.#main.has(version) ? version : this.#serving;
    const askedLight =
      lightVersion !== undefined && this.#lights.has(lightVersion) ? lightVersion : this.#light;
    const slots = [
      asked === null ? undefined : this.#main.get(asked),
      askedLight === null ? undefined : this.#lights.get(askedLight),
    ];
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
    for (const slot of [...this.#main.values(), ...this.#lights.values()]) {
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
        this.#retire(this.#main, version);
        refused.push({ name: MAIN_RANKER, version, reason: messageOf(error) });
      }
    }
    await this.#applyLight(plan, refused);
    if (plan.serving === null || this.#main.has(plan.serving)) this.#serving = plan.serving;
    for (const version of [...this.#main.keys()]) {
      if (!wanted.has(version) && version !== this.#serving) this.#retire(this.#main, version);
    }
    return this.#report(refused);
  }

  /** The light models are what serves when the device is in trouble: they stay on the CPU. */
  async #applyLight(
    { light, lightTrial = null }: RankerPlan,
    refused: ShelfReport['refused'],
  ): Promise<void> {
    for (const version of new Set([light, lightTrial])) {
      if (version === null || this.#lights.has(version)) continue;
      try {
        this.#lights.set(version, await this.#open(LIGHT_RANKER, version));
      } catch (error) {
        refused.push({ name: LIGHT_RANKER, version, reason: messageOf(error) });
      }
    }
    if (light === null || this.#lights.has(light)) this.#light = light;
    for (const version of [...this.#lights.keys()]) {
      if (version !== this.#light && version !== lightTrial) this.#retire(this.#lights, version);
    }
  }

  async #open(name: string, version: string, opened?: OpenedModel): Promise<Slot> {
    const problems: string[] = [];
    const source = name === LIGHT_RANKER ? { ...this.#source, provider: 'cpu' as const } : this.#source;
    const ranker = await openServable(source, name, version, problems, opened);
    if (this.#fork) ranker.shareBy?.(this.#fork);
    return { ranker, problems, uses: 0, retired: false };
  }

  #retire(slots: Map<string, Slot>, version: string): void {
    const slot = slots.get(version);
    slots.delete(version);
    if (!slot) return;
    slot.retired = true;
    if (slot.uses === 0) void slot.ranker.release().catch(() => {});
  }

  #unuse(slot: Slot): void {
    slot.uses--;
    if (slot.retired && slot.uses === 0) void slot.ranker.release().catch(() => {});
  }

  #report(refused: ShelfReport['refused']): ShelfReport {
    const main = this.#serving === null ? undefined : this.#main.get(this.#serving);
    const light = this.#light === null ? undefined : this.#lights.get(this.#light);
    const serving = [main, light].filter((slot) => slot !== undefined);
    return {
      open: [...this.#main.keys()],
      light: this.#light,
      models: serving.map(({ ranker }) => `${ranker.model} on ${ranker.provider}`),
      refused,
      problems: serving.flatMap(({ problems }) => problems),
    };
  }
}
