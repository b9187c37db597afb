// Thrown values → application/problem+json (RFC 9457) with a stable code. Nothing of an unexpected error but its
// request id reaches the client; the log has the rest.
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, FeedrankError, type FieldProblem, messageOf } from '../errors.ts';
import { ERROR_CATALOGUE } from './error-catalogue.ts';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

export interface Problem {
  /** URN of the code: `urn:feedrank:error:<code>`. */
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  requestId: string;
  /** The offending fields, by JSON path. */
  fields: FieldProblem[];
}

/** From here on it is a state that passes (503, 504, 507): the answer always says when to come back. */
const PASSING_STATUS = 503;

const FRAMEWORK_ERRORS: Record<string, (error: FastifyError) => FeedrankError> = {
  FST_ERR_CTP_INVALID_JSON_BODY: () => bodyProblem('is not valid JSON'),
  FST_ERR_CTP_EMPTY_JSON_BODY: () => bodyProblem('is empty, but the content type says JSON'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => bodyProblem('does not have the length that Content-Length says'),
  FST_ERR_CTP_BODY_TOO_LARGE: () =>
    new FeedrankError('payload_too_large', 'the body is larger than this route takes'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () =>
    new FeedrankError('unsupported_media_type', 'send the body as application/json'),
  FST_ERR_HANDLER_TIMEOUT: () =>
    new FeedrankError('timeout', 'the request was not answered in time', { retryAfterSeconds: 1 }),
  FST_ERR_BAD_URL: () =>
    new FeedrankError('invalid_input', 'url: is not a valid percent-encoded path', {
      fields: [{ field: 'url', reason: 'is not a valid percent-encoded path' }],
    }),
};

function bodyProblem(reason: string): FeedrankError {
  return new FeedrankError('invalid_input', `body: ${reason}`, { fields: [{ field: 'body', reason }] });
}

/** Any thrown value as a FeedrankError; what is not known is `internal` with an empty message. */
export function asFeedrankError(error: unknown): FeedrankError {
  if (error instanceof FeedrankError) return error;
  const framework = error as Partial<FastifyError> | null;
  const known = FRAMEWORK_ERRORS[framework?.code ?? ''];
  if (known) return known(framework as FastifyError);
  const status = framework?.statusCode ?? 500;
  if (status >= 400 && status < 500) {
    return error instanceof SyntaxError
      ? bodyProblem('is not acceptable JSON')
      : new FeedrankError('invalid_input', messageOf(error), { cause: error });
  }
  return new FeedrankError('internal', 'something went wrong; the log names it by the request id', {
    cause: error,
  });
}

export function problemOf(error: FeedrankError, requestId: string): Problem {
  const { status, title } = ERROR_CATALOGUE[error.code];
  return {
    type: `urn:feedrank:error:${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.message,
    requestId,
    fields: [...error.fields],
  };
}

/** One to three, at random: clients that were refused together do not come back in step. */
function comeBackSeconds(): number {
  return 1 + Math.floor(Math.random() * 3);
}

/** Fastify's error handler: logs what is the service's fault, answers with the problem. */
export function sendProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = asFeedrankError(thrown);
  const problem = problemOf(error, request.id);
  // Refusals for lack of room are counted; to log each would make an overload worse.
  if (problem.status >= 500 && error.code !== 'overloaded' && !request.socket?.destroyed)
    request.log.error({ err: thrown, code: error.code }, 'request failed');
  const retryAfter =
    error.retryAfterSeconds ?? (problem.status >= PASSING_STATUS ? comeBackSeconds() : undefined);
  if (retryAfter !== undefined) reply.header('retry-after', String(Math.max(1, Math.ceil(retryAfter))));
  reply.header('x-request-id', request.id);
  reply.header('cache-control', 'no-store');
  reply.code(problem.status).type(PROBLEM_TYPE).send(problem);
}
