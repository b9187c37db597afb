// Refuses feed requests of an overloaded replica when their headers have been read, before any hook, log or trace: ten
// times the load must not cost the answers of the rest. Same answer as the route's own refusal, which stays for what
// comes another way. Called by app.ts.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { Admission } from '../admission.ts';
import type { Draining } from './draining.ts';
import { ERROR_CATALOGUE } from './error-catalogue.ts';
import { PROBLEM_TYPE, problemOf } from './errors.ts';
import { newRequestId } from './request-id.ts';
import { requestPriority } from './request-priority.ts';

export interface OverloadDoorParts {
  admission: Pick<Admission, 'refusal'>;
  draining: Pick<Draining, 'reason'>;
  /** `seconds`: what it took here. */
  onRefused(seconds: number): void;
}

const FEED = /^\/feed\/[^/?]+(\?.*)?$/;
/** What security-headers.ts puts on every answer; a test holds the two together. */
const HEADERS = {
  'content-security-policy': "default-src 'none';frame-ancestors 'none';base-uri 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-dns-prefetch-control': 'off',
  'x-download-options': 'noopen',
  'x-frame-options': 'SAMEORIGIN',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
  'cache-control': 'no-store',
  'content-type': PROBLEM_TYPE,
};
const FIXED_HEADERS = Object.entries(HEADERS).flat();

/** Takes the place of the server's listener for requests; what it does not refuse goes on to Fastify. */
export function standAtTheDoor(
  app: FastifyInstance,
  { admission, draining, onRefused }: OverloadDoorParts,
): void {
  const { server } = app;
  const listeners = server.listeners('request') as ((req: IncomingMessage, res: ServerResponse) => void)[];
  const refuse = (request: IncomingMessage, response: ServerResponse): boolean => {
    const feed = request.method === 'GET' ? FEED.exec(request.url ?? '') : null;
    if (!feed) return false;
    const asked = feed[1]?.includes('priority=') ? new URLSearchParams(feed[1]).get('priority') : undefined;
    const refusal = admission.refusal(requestPriority(asked, request.headers));
    if (!refusal) return false;
    const startedAtMs = performance.now();
    const requestId = newRequestId();
    const body = JSON.stringify(problemOf(refusal, requestId));
    response.writeHead(ERROR_CATALOGUE.overloaded.status, [
      ...FIXED_HEADERS,
      'x-request-id',
      requestId,
      'retry-after',
      String(refusal.retryAfterSeconds),
      'content-length',
      String(Buffer.byteLength(body)),
      ...(draining.reason === null ? [] : ['connection', 'close']),
    ]);
    response.end(body);
    onRefused((performance.now() - startedAtMs) / 1000);
    return true;
  };
  server.removeAllListeners('request');
  server.on('request', (request, response) => {
    if (refuse(request, response)) return;
    for (const listener of listeners) listener.call(server, request, response);
  });
}
