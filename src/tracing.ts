// OpenTelemetry traces. Off unless startTracing was called: then no SDK is loaded and spans cost a comparison. Spans
// carry no user ids and no text of users; an error is named by its code.
import {
  type Attributes,
  type Context,
  context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { FeedrankError } from './errors.ts';

export interface TracingSettings {
  /** Base of an OTLP/HTTP collector; traces go to `<endpoint>/v1/traces`. */
  endpoint: string;
  serviceName: string;
  /** Share of requests that are traced when their sender has not decided it. */
  ratio: number;
}

const EXPORT_EVERY_MS = 1000;
const EXPORT_MS = 5000;
const STOP_MS = 3000;

let tracing = false;

export function isTracing(): boolean {
  return tracing;
}

/** Loads the SDK and registers it for the process. The function given back writes what waits, and ends it. */
export async function startTracing(settings: TracingSettings): Promise<() => Promise<void>> {
  const [sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/sdk-trace-node'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ]);
  const url = `${settings.endpoint.replace(/\/+$/, '')}/v1/traces`;
  const provider = new sdk.NodeTracerProvider({
    resource: resourceFromAttributes({
      'service.name': settings.serviceName,
      'service.instance.id': `${process.pid}`,
    }),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(settings.ratio) }),
    spanProcessors: [
      new sdk.BatchSpanProcessor(new OTLPTraceExporter({ url, timeoutMillis: EXPORT_MS }), {
        exportTimeoutMillis: EXPORT_MS,
        scheduledDelayMillis: EXPORT_EVERY_MS,
      }),
    ],
  });
  provider.register();
  tracing = true;
  return async () => {
    tracing = false;
    const late = new Promise<void>((resolve) => setTimeout(resolve, STOP_MS).unref());
    await Promise.race([provider.shutdown().catch(() => {}), late]);
    trace.disable();
    context.disable();
  };
}

const tracer = () => trace.getTracer('feedrank');

/** Unix milliseconds with fractions, on the clock that spans are measured by. */
export function traceTime(): number {
  return performance.timeOrigin + performance.now();
}

export interface SpanOptions {
  attributes?: Attributes;
  kind?: SpanKind;
  links?: Link[];
  /** Default: what is active. */
  parent?: Context;
}

/** Runs `work` inside a span that is a child of the active one; the span is undefined while tracing is off. */
export async function inSpan<T>(
  name: string,
  options: SpanOptions,
  work: (span: Span | undefined) => Promise<T>,
): Promise<T> {
  if (!tracing) return work(undefined);
  const parent = options.parent ?? context.active();
  const span = tracer().startSpan(name, options, parent);
  try {
    return await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    failSpan(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/** Records spans that were measured elsewhere, one after another from `startMs`, as children of the active span. */
export function recordSteps(steps: readonly (readonly [name: string, ms: number])[], startMs: number): void {
  if (!tracing) return;
  let at = startMs;
  for (const [name, ms] of steps) {
    tracer()
      .startSpan(name, { startTime: at })
      .end(at + ms);
    at += ms;
  }
}

/** A span that the caller ends, and the context that its children run in. */
export function openSpan(
  name: string,
  options: SpanOptions,
  parent: Context,
): { span: Span; active: Context } {
  const span = tracer().startSpan(name, options, parent);
  return { span, active: trace.setSpan(parent, span) };
}

function failSpan(span: Span, error: unknown): void {
  const type = error instanceof FeedrankError ? error.code : 'internal';
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

/** Ids for the log; empty outside a span. */
export function traceFields(): { traceId?: string; spanId?: string } {
  if (!tracing) return {};
  const active = trace.getActiveSpan()?.spanContext();
  return active ? { traceId: active.traceId, spanId: active.spanId } : {};
}

/** The spans in which things were handed over that are worked on later, for links. */
const origins = new WeakMap<object, SpanContext>();

export function rememberOrigin(thing: object): void {
  const active = tracing ? trace.getActiveSpan()?.spanContext() : undefined;
  if (active) origins.set(thing, active);
}

/**
 * The same store with a span around each call of `methods`; as it is while tracing is off. `linked` methods take lists
 * of what was handed over earlier: theirs is a child of the first traced request among them and linked to the others.
 */
export function tracedStore<T extends object>(
  store: T,
  system: string,
  {
    methods,
    linked = [],
  }: { methods: readonly (keyof T & string)[]; linked?: readonly (keyof T & string)[] },
): T {
  if (!tracing) return store;
  const calls = new Map<PropertyKey, unknown>();
  for (const name of [...methods, ...linked]) {
    const call = store[name] as (...args: unknown[]) => Promise<unknown>;
    const attributes = { 'db.system.name': system, 'db.operation.name': name };
    const isLinked = linked.includes(name);
    calls.set(name, (...args: unknown[]) => {
      const work = () => call.apply(store, args);
      const options = { kind: SpanKind.CLIENT, attributes };
      if (!isLinked) return inSpan(`${system} ${name}`, options, work);
      const [first, ...links] = tracedOrigins(args[0] as object[]);
      if (first === undefined) return work();
      const parent = trace.setSpanContext(ROOT_CONTEXT, first);
      const others = links.map((other) => ({ context: other }));
      return inSpan(`${system} ${name}`, { ...options, parent, links: others }, work);
    });
  }
  return new Proxy(store, {
    get(target, property) {
      const traced = calls.get(property);
      if (traced) return traced;
      const value = Reflect.get(target, property, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function tracedOrigins(things: readonly object[]): SpanContext[] {
  return things.flatMap((thing) => {
    const origin = origins.get(thing);
    return origin && (origin.traceFlags & TraceFlags.SAMPLED) !== 0 ? [origin] : [];
  });
}
