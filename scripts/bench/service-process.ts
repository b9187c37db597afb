// Starts the service as its own process, with the flags of `npm start`, so that a benchmark's client does not share its
// event loop and what is measured is what is run.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { START_FLAGS } from '../start-flags.ts';

export interface ServiceProcess {
  base: string;
  pid: number;
  /** Asks it to drain and waits for its end. */
  stop(): Promise<void>;
}

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const START_MS = 180_000;

/** Resolves when it listens, on a free port. Rejects with its last line when it ends before that. */
export async function startService(environment: Record<string, string>): Promise<ServiceProcess> {
  const child = spawn(process.execPath, ['--no-warnings', ...START_FLAGS, MAIN], {
    // Every page that is timed is ranked.
    env: { SLATE_CACHE_MS: '0', ...process.env, ...environment, PORT: '0', LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let last = '';
  createInterface({ input: child.stderr! }).on('line', (line) => {
    last = line;
  });
  const base = await listening(child, () => last);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    base,
    pid: child.pid!,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function listening(child: ChildProcess, lastLine: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the service did not listen within ${START_MS / 1000} s`));
    }, START_MS);
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const url = /Server listening at (http:\/\/[^"]+)/.exec(line);
      if (!url) return;
      clearTimeout(timer);
      resolve(url[1]);
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`the service ended with code ${code}: ${lastLine()}`));
    });
  });
}
