// Which versions of the registry passed their check as they lie there now. A version is checked once, in a process of
// its own, and again only when its files change. Called by model-rollout.ts.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from './errors.ts';
import { checkInProcess } from './ranking/lifecycle/model-check.ts';

const FILES = ['manifest.json', 'model.onnx', 'golden.json'];

export class VersionChecks {
  readonly #modelsDir: string;
  readonly #budget: { rows: number; budgetMs?: number };
  readonly #checked = new Map<string, { stamp: string; reason: string | null }>();
  readonly #seen = new Map<string, string>();

  /** `budget`: candidates of a request, and the time that ranking them may take on this machine; absent = not timed. */
  constructor(modelsDir: string, budget: { rows: number; budgetMs?: number }) {
    this.#modelsDir = modelsDir;
    this.#budget = budget;
  }

  /** Why a version cannot serve, null when it can. Never rejects. */
  async reason(name: string, version: string): Promise<string | null> {
    const key = `${name}@${version}`;
    const stamp = await this.#stamp(name, version);
    const known = this.#checked.get(key);
    if (known?.stamp === stamp) return known.reason;
    const check = { modelsDir: this.#modelsDir, name, version, ...this.#budget };
    const reason = await checkInProcess(check).then(() => null, messageOf);
    this.#checked.set(key, { stamp, reason });
    return reason;
  }

  /** Whether a version's files are as they were at the last call: one that is still being copied is not looked at. */
  async settled(name: string, version: string): Promise<boolean> {
    const key = `${name}@${version}`;
    const stamp = await this.#stamp(name, version);
    const before = this.#seen.get(key);
    this.#seen.set(key, stamp);
    return before === stamp;
  }

  async #stamp(name: string, version: string): Promise<string> {
    const stamps = FILES.map((file) =>
      stat(join(this.#modelsDir, name, version, file)).then(
        ({ mtimeMs, ctimeMs, size, ino }) => `${mtimeMs}:${ctimeMs}:${size}:${ino}`,
        () => 'none',
      ),
    );
    return (await Promise.all(stamps)).join();
  }
}
