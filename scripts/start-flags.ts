// Node's flags in `npm start`: whatever starts the service to measure or to break it starts it with these.
import { readFileSync } from 'node:fs';

const PACKAGE = new URL('../package.json', import.meta.url);

export const START_FLAGS: readonly string[] =
  (JSON.parse(readFileSync(PACKAGE, 'utf8')) as { scripts: { start: string } }).scripts.start.match(
    /--\S+/g,
  ) ?? [];
