// Runs the programs that test servers need: one-shot commands with a time limit, and servers that are stopped again.
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';

export interface CommandOptions {
  env?: Record<string, string>;
  cwd?: string;
  timeoutMs?: number;
  uid?: number;
  gid?: number;
}

/** Standard output of a program; rejects with the end of its standard error. */
export function runCommand(file: string, args: string[], options: CommandOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: options.cwd,
      uid: options.uid,
      gid: options.gid,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (data) => {
      out += data;
    });
    child.stderr.on('data', (data) => {
      err += data;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve(out);
      else reject(new Error(`${file} ${signal ?? `exit ${code}`}: ${err.trim().split('\n').at(-1) ?? ''}`));
    });
  });
}

export interface RunningServer {
  url: string;
  /** Where the program came from, for the log. */
  origin: string;
  /** Its (main) process; a signal to it is a fault of the server. */
  pid: number;
  stop(): Promise<void>;
}

export interface ServerCommand extends CommandOptions {
  file: string;
  args: string[];
  stopSignal: NodeJS.Signals;
}

/** Starts a server and resolves when `ready` does; rejects with its last words when it ends or stays silent. */
export async function startServer(
  command: ServerCommand,
  ready: () => Promise<void>,
): Promise<{ pid: number; stop(): Promise<void> }> {
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    uid: command.uid,
    gid: command.gid,
    env: { ...process.env, ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  const collect = (data: Buffer) => {
    log = (log + data).slice(-4_000);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  let ended: string | null = null;
  child.on('error', (error) => {
    ended = error.message;
  });
  child.on('exit', (code, signal) => {
    ended ??= `ended with ${signal ?? code}`;
  });
  const killWithUs = () => child.kill('SIGKILL');
  process.once('exit', killWithUs);
  const stop = async () => {
    await endProcess(child, command.stopSignal);
    process.off('exit', killWithUs);
  };
  const giveUpAt = Date.now() + 20_000;
  while (true) {
    if (ended !== null) throw new Error(`${command.file} ${ended}: ${log.trim().split('\n').at(-1) ?? ''}`);
    try {
      await ready();
      return { pid: child.pid!, stop };
    } catch (error) {
      if (Date.now() > giveUpAt) {
        await stop();
        throw new Error(`${command.file} does not answer: ${error instanceof Error ? error.message : error}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** The command as it runs in a network namespace (Linux, root); undefined = here. `ip netns exec` keeps the pid. */
export function inNamespace(
  name: string | undefined,
  file: string,
  args: string[],
): { file: string; args: string[] } {
  return name === undefined ? { file, args } : { file: 'ip', args: ['netns', 'exec', name, file, ...args] };
}

/** A loopback port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address && typeof address === 'object') resolve(address.port);
        else reject(new Error('no port'));
      });
    });
  });
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  // A server that a test has stopped does not see the signal before it goes on.
  child.kill('SIGCONT');
  const hard = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await exited;
  clearTimeout(hard);
}
