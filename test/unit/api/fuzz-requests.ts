// Requests made of the OpenAPI document: for each operation valid ones, and ones that are broken in any part. What is
// generated knows nothing of the handlers, only what the document says.
import fc from 'fast-check';

export interface JsonSchema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  allOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  items?: JsonSchema;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  format?: string;
  pattern?: string;
}

export interface Operation {
  name: string;
  method: string;
  path: string;
  parameters: { name: string; in: 'path' | 'query' | 'header'; required?: boolean; schema: JsonSchema }[];
  body: JsonSchema | null;
  responses: Record<string, { content?: Record<string, { schema?: JsonSchema }> }>;
}

export interface FuzzedRequest {
  method: string;
  url: string;
  headers: Record<string, string>;
  payload: string | undefined;
}

/** Every operation of a document. */
export function operationsOf(document: {
  paths: Record<string, Record<string, Record<string, unknown>>>;
}): Operation[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const body = operation.requestBody as { content: Record<string, { schema: JsonSchema }> } | undefined;
      return {
        name: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        path,
        parameters: (operation.parameters ?? []) as Operation['parameters'],
        body: body?.content['application/json']?.schema ?? null,
        responses: operation.responses as Operation['responses'],
      };
    }),
  );
}

/** Ids that exist in the fuzzed world come up often, so that handlers get further than their look-ups. */
const KNOWN = ['u1', 'u2', 'p1', 'p2', 'p3', 'author-of-p1', 'chess', 'en'];
const ODD = [
  '',
  ' ',
  '\0',
  '..',
  '../..',
  '%00',
  '%',
  '\ud800',
  'a,b',
  '😀',
  'ﬃ',
  "';--",
  '__proto__',
  'constructor',
];

/** What a caller would send in a field, most of the time; null: nothing. A token cannot be made up. */
const USUAL: Record<string, fc.Arbitrary<unknown> | null> = {
  at: fc.integer({ min: Date.UTC(2026, 10, 1), max: Date.UTC(2026, 10, 24) }),
  postId: fc.constantFrom('p1', 'p2', 'p3'),
  token: null,
};

const oddText = fc.oneof(
  fc.constantFrom(...ODD),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.integer({ min: 200, max: 3000 }).map((length) => 'x'.repeat(length)),
);
const oddNumber = fc.oneof(
  fc.constantFrom(-1, 0, 1e308, -1e308, 2 ** 53, 2 ** 31, -0, 0.5, 1e-300),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const anything = fc.oneof(oddText, oddNumber, fc.boolean(), fc.constant(null), fc.jsonValue({ maxDepth: 3 }));

/** Values of a schema, now and then with something else in any place. `strict` leaves that out. */
export function arbitraryOf(schema: JsonSchema, strict: boolean): fc.Arbitrary<unknown> {
  const good = wellFormed(schema, strict);
  return strict ? good : fc.oneof({ weight: 14, arbitrary: good }, { weight: 1, arbitrary: anything });
}

function wellFormed(schema: JsonSchema, strict: boolean): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return fc.oneof(...choices.map((choice) => arbitraryOf(choice, strict)));
  if (schema.allOf)
    return fc
      .tuple(...schema.allOf.map((part) => arbitraryOf(part, strict)))
      .map((parts) => Object.assign({}, ...parts));
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === 'integer' || type === 'number') return numberOf(schema);
  if (type === 'string') return textOf(schema);
  if (type === 'boolean') return fc.boolean();
  if (type === 'null') return fc.constant(null);
  if (type === 'array') {
    const { minItems = 0, maxItems = minItems + 4 } = schema;
    return fc.array(arbitraryOf(schema.items ?? {}, strict), {
      minLength: minItems,
      maxLength: Math.min(maxItems, minItems + 4),
    });
  }
  if (type === 'object' || schema.properties) return objectOf(schema, strict);
  return anything;
}

function numberOf({ minimum, maximum, exclusiveMinimum, type }: JsonSchema): fc.Arbitrary<unknown> {
  const min = exclusiveMinimum === undefined ? Math.max(minimum ?? 0, -(2 ** 31)) : exclusiveMinimum + 1e-6;
  const max = Math.max(min, Math.min(maximum ?? 2_000_000_000_000, 4_000_000_000_000));
  const near = fc.constantFrom(min, max);
  const [from, to] = [Math.ceil(min), Math.floor(max)];
  const whole = from > to ? near : fc.integer({ min: from, max: to });
  return type === 'integer'
    ? fc.oneof(near, whole)
    : fc.oneof(near, whole, fc.double({ min, max, noNaN: true }));
}

function textOf({ minLength = 0, maxLength = 40, format, pattern }: JsonSchema): fc.Arbitrary<unknown> {
  if (pattern !== undefined && format === undefined) return fc.stringMatching(new RegExp(pattern));
  if (format === 'date-time') return fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
  const free = fc.string({ minLength, maxLength: Math.min(maxLength, minLength + 20) });
  return fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...KNOWN) }, { weight: 1, arbitrary: free });
}

function objectOf(schema: JsonSchema, strict: boolean): fc.Arbitrary<unknown> {
  const { properties = {}, required = [], additionalProperties } = schema;
  const model = Object.fromEntries(
    Object.entries(properties).map(([name, property]) => [name, arbitraryOf(property, strict)]),
  );
  const known = mostlyUsual(fc.record(model, { requiredKeys: required }), properties, required);
  if (strict && additionalProperties !== undefined && typeof additionalProperties === 'object') {
    return fc.dictionary(fc.string({ maxLength: 8 }), arbitraryOf(additionalProperties, strict), {
      maxKeys: 3,
    });
  }
  if (strict) return known;
  const lacking = fc
    .tuple(known, fc.constantFrom('', ...required))
    .map(([value, name]) =>
      Object.fromEntries(Object.entries(value as object).filter(([key]) => key !== name)),
    );
  const extra = fc
    .tuple(known, fc.string({ maxLength: 8 }), anything)
    .map(([value, key, more]) => ({ ...(value as object), [key]: more }));
  return fc.oneof(
    { weight: 12, arbitrary: known },
    { weight: 1, arbitrary: lacking },
    { weight: 1, arbitrary: extra },
  );
}

function mostlyUsual(
  known: fc.Arbitrary<unknown>,
  properties: Record<string, JsonSchema>,
  required: string[],
): fc.Arbitrary<unknown> {
  const names = Object.keys(properties).filter((name) => name in USUAL);
  if (names.length === 0) return known;
  const usual = names.map((name) => [name, USUAL[name] ?? fc.constant(undefined)] as const);
  const replaced = fc
    .tuple(known, fc.record(Object.fromEntries(usual)))
    .map(([value, instead]) => ({ ...(value as object), ...instead }));
  // Undefined leaves the field out, which a required one does not bear.
  return names.some((name) => USUAL[name] === null && required.includes(name))
    ? known
    : fc.oneof({ weight: 3, arbitrary: replaced }, { weight: 1, arbitrary: known });
}

/** What goes into a URL or a header has no types. */
function asText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function parametersOf(operation: Operation, where: 'path' | 'query' | 'header', strict: boolean) {
  const ofKind = operation.parameters.filter((parameter) => parameter.in === where);
  const model = Object.fromEntries(ofKind.map(({ name, schema }) => [name, arbitraryOf(schema, strict)]));
  const requiredKeys = ofKind.filter(({ required }) => strict && required).map(({ name }) => name);
  return where === 'path' ? fc.record(model) : fc.record(model, { requiredKeys });
}

/** Requests of one operation. */
export function requestsOf(operation: Operation, strict: boolean): fc.Arbitrary<FuzzedRequest> {
  const body: fc.Arbitrary<string | undefined> =
    operation.body === null
      ? fc.constant(undefined)
      : strict
        ? arbitraryOf(operation.body, true).map((value) => JSON.stringify(value))
        : fc.oneof(
            {
              weight: 12,
              arbitrary: arbitraryOf(operation.body, false).map((value) => JSON.stringify(value)),
            },
            { weight: 1, arbitrary: fc.string({ maxLength: 60 }) },
            { weight: 1, arbitrary: fc.nat(200).map((depth) => '['.repeat(depth)) },
            { weight: 1, arbitrary: fc.constant(undefined) },
          );
  const contentType = strict
    ? fc.constant('application/json')
    : fc.oneof(
        { weight: 12, arbitrary: fc.constant('application/json') },
        {
          weight: 1,
          arbitrary: fc.constantFrom('text/plain', 'application/xml', '', 'multipart/form-data; boundary=x'),
        },
      );
  const strayQuery = strict
    ? fc.constant('')
    : fc.oneof(
        { weight: 9, arbitrary: fc.constant('') },
        { weight: 1, arbitrary: fc.string({ maxLength: 10 }).map((text) => `${encoded(text)}=1`) },
      );
  return fc
    .tuple(
      parametersOf(operation, 'path', strict),
      parametersOf(operation, 'query', strict),
      parametersOf(operation, 'header', strict),
      body,
      contentType,
      strayQuery,
    )
    .map(([path, query, headers, payload, type, stray]) => {
      const filled = operation.path.replace(/\{(\w+)\}/g, (_, name) =>
        encoded(asText((path as Record<string, unknown>)[name])),
      );
      const pairs = Object.entries(query as object).map(
        ([name, value]) => `${name}=${encoded(asText(value))}`,
      );
      const text = [...pairs, ...(stray ? [stray] : [])].join('&');
      const given = Object.entries(headers as object).map(([name, value]) => [
        name,
        // What Node lets a client send.
        asText(value).replace(/[^\x20-\x7e]/g, ''),
      ]);
      return {
        method: operation.method,
        url: text ? `${filled}?${text}` : filled,
        headers: {
          ...Object.fromEntries(given),
          ...(payload === undefined || type === '' ? {} : { 'content-type': type }),
        },
        payload,
      };
    });
}
