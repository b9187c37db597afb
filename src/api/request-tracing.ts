// Each request's place in a trace (W3C Trace Context): its span, child of the sender's, with the ids in the log and in
// the answer. While tracing is off a sender's trace id is still in the log.
import { finished } from 'node:stream';
import {
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
} from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isTracing, openSpan } from '../tracing.ts';

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

export function traceRequests(app: FastifyInstance): void {
  if (isTracing()) recordRequests(app);
  else
    app.addHook('onRequest', (request, _reply, done) => {
      const traceId = TRACEPARENT.exec(String(request.headers.traceparent))?.[1];
      if (traceId !== undefined) request.log = request.log.child({ traceId });
      done();
    });
}

function recordRequests(app: FastifyInstance): void {
  const active = new WeakMap<FastifyRequest, Context>();
  app.addHook('onRequest', (request, reply, done) => {
    const { method, headers, routeOptions, id } = request;
    const route = routeOptions.url ?? 'none';
    const attributes = { 'http.request.method': method, 'http.route': route, 'feedrank.request_id': id };
    const sender = propagation.extract(ROOT_CONTEXT, headers);
    const { span, active: inside } = openSpan(
      `${method} ${route}`,
      { kind: SpanKind.SERVER, attributes },
      sender,
    );
    active.set(request, inside);
    const { traceId, spanId, traceFlags } = span.spanContext();
    reply.header('traceresponse', `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`);
    finished(reply.raw, (error) => {
      span.setAttribute('http.response.status_code', reply.statusCode);
      if (error || reply.statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    });
    context.with(inside, done);
  });
  // The body is read in the connection's own context.
  app.addHook('preValidation', (request, _reply, done) => {
    context.with(active.get(request) ?? ROOT_CONTEXT, done);
  });
}
