// The logger of one request: its child of the process's logger is made when something is logged, which is for few
// requests. Fastify makes one for each (app.ts, `childLoggerFactory`).
import type { FastifyBaseLogger } from 'fastify';

type Given = Parameters<FastifyBaseLogger['info']>;
type Child = Parameters<FastifyBaseLogger['child']>;

export function requestLog(
  logger: FastifyBaseLogger,
  bindings: Child[0],
  options: Child[1],
): FastifyBaseLogger {
  return new RequestLog(() => logger.child(bindings, options), logger.level) as unknown as FastifyBaseLogger;
}

class RequestLog {
  readonly level: string;
  readonly #make: () => FastifyBaseLogger;
  #made: FastifyBaseLogger | undefined;

  constructor(make: () => FastifyBaseLogger, level: string) {
    this.#make = make;
    this.level = level;
  }

  get #log(): FastifyBaseLogger {
    this.#made ??= this.#make();
    return this.#made;
  }

  child(...given: Child): FastifyBaseLogger {
    return this.#log.child(...given);
  }

  fatal(...given: Given): void {
    this.#log.fatal(...given);
  }

  error(...given: Given): void {
    this.#log.error(...given);
  }

  warn(...given: Given): void {
    this.#log.warn(...given);
  }

  info(...given: Given): void {
    this.#log.info(...given);
  }

  debug(...given: Given): void {
    this.#log.debug(...given);
  }

  trace(...given: Given): void {
    this.#log.trace(...given);
  }

  silent(...given: Given): void {
    this.#log.silent(...given);
  }
}
