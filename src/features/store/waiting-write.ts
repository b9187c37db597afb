// A write that waits behind another one of the same user, and takes in what comes meanwhile. Called by
// redis-state-store.ts.
import type { UserStatePatch } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';

/** Patches of one user that are written together. */
export class WaitingWrite {
  readonly patches: UserStatePatch[];
  readonly deadline: Deadline;
  readonly done: Promise<boolean>;
  resolve: (atOnce: boolean) => void = () => {};
  reject: (error: unknown) => void = () => {};

  constructor(patches: UserStatePatch[], deadline: Deadline) {
    this.patches = patches;
    this.deadline = deadline;
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}
