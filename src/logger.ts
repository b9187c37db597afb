// The process's log: JSON lines with the ids of request and trace, and without what must not be in a log: credentials,
// what users wrote, what a driver's error carries along (statements' values, commands' arguments).
import { type DestinationStream, type Logger, pino } from 'pino';
import { FeedrankError } from './errors.ts';
import { traceFields } from './tracing.ts';

/** Credentials, wherever a field of the log holds them. */
const REDACTED = [
  'authorization',
  'cookie',
  'x-api-key',
  'apiKey',
  'token',
  'cursor',
  'secret',
  'password',
].flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]);
const MAX_MESSAGE = 500;
const MAX_CAUSES = 3;
/** What of a driver's error says where it happened; their other fields hold values. */
const SAFE_FIELDS = [
  'code',
  'severity',
  'schema',
  'table',
  'column',
  'constraint',
  'routine',
  'syscall',
] as const;

export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    mixin: traceFields,
    redact: { paths: REDACTED, censor: '[redacted]' },
    serializers: { err: describeError, error: describeError, reason: scrub, failures: scrub },
  };
  return destination ? pino(options, destination) : pino(options);
}

/** An error without the text that it quotes, and its causes. */
export function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? scrub(error) : { type: typeof error };
  const message = scrub(error.message);
  const fields = error as unknown as Record<string, unknown>;
  const safe = SAFE_FIELDS.flatMap((name) =>
    typeof fields[name] === 'string' ? [[name, fields[name]]] : [],
  );
  const at = error.stack?.split('\n').filter((line) => /^\s+at /.test(line)) ?? [];
  return {
    type: error.name,
    ...(error instanceof FeedrankError && error.fields.length > 0
      ? { fields: error.fields.map(({ field }) => field) }
      : {}),
    ...Object.fromEntries(safe),
    message,
    stack: [`${error.name}: ${message}`, ...at].join('\n'),
    ...(error.cause !== undefined && depth < MAX_CAUSES
      ? { cause: describeError(error.cause, depth + 1) }
      : {}),
  };
}

/** A text, or a list of them, without credentials and without what stands in quotes, which may be a user's words. */
export function scrub(text: unknown): unknown {
  if (Array.isArray(text)) return text.map(scrub);
  if (typeof text !== 'string') return text;
  return text
    .slice(0, MAX_MESSAGE)
    .replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]*@/gi, '$1[redacted]@')
    .replace(/\bfrk_[a-z0-9-]+_[A-Za-z0-9_-]+/g, '[key]')
    .replace(/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, '[token]')
    .replace(/\bBearer +\S+/gi, 'Bearer [redacted]')
    .replace(/"[^"\n]*"|“[^”\n]*”/g, '"…"');
}
