// Bytes that are no HTTP request, or one that never ends: answered on the socket, since no request object exists.
import type { Socket } from 'node:net';
import { FeedrankError } from '../errors.ts';
import { PROBLEM_TYPE, problemOf } from './errors.ts';
import { newRequestId } from './request-id.ts';

/** Fastify's clientErrorHandler. */
export function respondToBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, refusal] = refusalOf(error.code);
  const requestId = newRequestId();
  const body = JSON.stringify({ ...problemOf(refusal, requestId), status });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_TEXT[status]}\r\ncontent-type: ${PROBLEM_TYPE}\r\nx-request-id: ${requestId}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

const STATUS_TEXT: Record<number, string> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

function refusalOf(code: string | undefined): [status: number, refusal: FeedrankError] {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return [408, new FeedrankError('timeout', 'the request did not arrive in time')];
  if (code === 'HPE_HEADER_OVERFLOW') {
    const reason = 'headers or URL are larger than 16 kB';
    return [431, new FeedrankError('payload_too_large', reason, { fields: [{ field: 'url', reason }] })];
  }
  return [400, new FeedrankError('invalid_input', 'the bytes are not an HTTP/1.1 request')];
}
