// Every operation of the OpenAPI document, asked with generated requests: no 5xx, every refusal a problem, every status
// documented, every answer as its schema says, and nobody past the guard who has no right to. FEEDRANK_FUZZ_RUNS asks
// for more than the default.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { ModelAdmin, RulesAdmin } from '../../../src/api/app-context.ts';
import { Authenticator } from '../../../src/api/auth/authenticator.ts';
import { accessOf } from '../../../src/api/auth/route-access.ts';
import { SCOPES, type Scope } from '../../../src/api/auth/scopes.ts';
import { FeedJobs } from '../../../src/api/jobs/feed-jobs.ts';
import { problemSchema } from '../../../src/api/response-schemas.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { PostgresFeedJobs } from '../../../src/features/store/postgres-feed-jobs.ts';
import { type KeyFile, keyFile } from './auth/credentials.ts';
import {
  type FuzzedRequest,
  type JsonSchema,
  type Operation,
  operationsOf,
  requestsOf,
} from './fuzz-requests.ts';
import { type Backends, NOW, openBackends, openWorld, post, type World } from './world.ts';

const RUNS = Number(process.env.FEEDRANK_FUZZ_RUNS ?? 15);
/** A generator that never gets through must not pass for a good one. */
const BATCHES = 6;
let backends: Backends;
let world: World;
let file: KeyFile;
let auth: Authenticator;
let jobs: PostgresFeedJobs;
const keys = new Map<string, { scopes: Scope[]; user: string | undefined }>();
let operations: Operation[] = [];

const models: ModelAdmin = {
  status: () => ({
    mode: 'manual',
    serving: { ranker: '1', light: null },
    previous: null,
    trial: null,
    versions: [],
    experiments: null,
    problems: [],
  }),
  history: async () => [],
  async move() {
    return models.status();
  },
};
const rules: RulesAdmin = {
  status: () => ({
    mode: 'manual',
    serving: 'default',
    file: null,
    previous: null,
    trial: null,
    refused: [],
    problems: [],
  }),
  async move() {
    return rules.status();
  },
};

beforeAll(async () => {
  backends = await openBackends();
  file = keyFile();
  const add = (id: string, scopes: Scope[], user?: string) =>
    keys.set(file.add({ id, scopes, user }), { scopes, user });
  for (const scope of SCOPES) add(`one-${SCOPES.indexOf(scope)}`, [scope]);
  add(
    'all-of-u1',
    SCOPES.filter((scope) => scope !== 'admin'),
    'u1',
  );
  auth = new Authenticator({ keysFile: file.path });
  jobs = new PostgresFeedJobs(backends.sql.client);
  const feedJobs = new FeedJobs({
    store: jobs,
    settings: { atOnce: 1, bounds: { open: 10, kept: 100 }, keptMs: 86_400_000, baseUrl: '' },
    webhooks: null,
    clock: { now: () => NOW },
  });
  world = await openWorld(backends, { config: { docs: true }, context: { auth, models, rules, feedJobs } });
  const admin = { 'x-api-key': keyWith((key) => key.scopes.includes('admin')) };
  const document = (await world.app.inject({ url: '/docs/json', headers: admin })).json();
  operations = operationsOf(document);
});
afterAll(async () => {
  await world.close();
  await backends.close();
  auth.close();
  file.remove();
});

function keyWith(wanted: (key: { scopes: Scope[]; user: string | undefined }) => boolean): string {
  return [...keys].find(([, key]) => wanted(key))?.[0] ?? '';
}

async function ask(request: FuzzedRequest, key: string | undefined) {
  const { method, url, headers, payload } = request;
  return world.app.inject({
    method: method as 'GET',
    url,
    headers: { ...headers, ...(key === undefined ? {} : { 'x-api-key': key }) },
    ...(payload === undefined ? {} : { payload }),
  });
}

const schemas = new Map<JsonSchema, z.ZodType>();

function check(operation: Operation, response: Awaited<ReturnType<typeof ask>>): void {
  const { statusCode: status, headers, body } = response;
  expect(status, body).toBeLessThan(500);
  const type = String(headers['content-type']).split(';')[0];
  // A generated path may be another route's, or none's.
  const documented = operation.responses[status] ?? (status === 404 ? {} : undefined);
  expect(documented, `${operation.name} answers ${status}, which is not documented: ${body}`).toBeDefined();
  const results = status === 400 && type === 'application/json';
  if (status >= 400 && !results) {
    expect(type).toBe('application/problem+json');
    const problem = problemSchema.parse(JSON.parse(body));
    expect(problem.status).toBe(status);
    expect(body).not.toMatch(/node_modules|\.ts:\d|\bat \w+ \(/);
    return;
  }
  const schema = documented?.content?.[type]?.schema;
  expect(schema, `${operation.name} ${status} ${type}`).toBeDefined();
  if (type !== 'application/json' || schema === undefined) return;
  let compiled = schemas.get(schema);
  if (!compiled) {
    compiled = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
    schemas.set(schema, compiled);
  }
  const parsed = compiled.safeParse(JSON.parse(body));
  expect(
    parsed.success,
    `${operation.name} ${status}: ${parsed.error?.message} in ${body.slice(0, 400)}`,
  ).toBe(true);
}

/** The one whose id comes up, of every key that may have one; given again where an operation removed it. */
async function addJob(): Promise<void> {
  const job = { userIds: ['u1', 'u2'], limit: 2, webhookUrl: null, idempotency: null, createdAt: NOW };
  const owner = 'key:one-5';
  const bounds = { open: 1e6, kept: 1e6 };
  const soon = deadlineIn(10_000);
  if (await jobs.get('p1', owner, soon)) return;
  await jobs.create({ ...job, id: 'p1', owner, keptMs: 86_400_000 }, bounds, soon);
}

/** What came back, and how often. */
async function fuzz(operation: Operation, strict: boolean): Promise<Map<number, number>> {
  const admin = keyWith((key) => key.scopes.includes('admin'));
  const statuses = new Map<number, number>();
  // Deleted by the operations before this one.
  await world.addPosts(['p1', 'p2', 'p3'].map((id) => post(id)));
  await addJob();
  await fc.assert(
    fc.asyncProperty(requestsOf(operation, strict), async (request) => {
      const response = await ask(request, admin);
      check(operation, response);
      statuses.set(response.statusCode, (statuses.get(response.statusCode) ?? 0) + 1);
    }),
    { numRuns: RUNS },
  );
  return statuses;
}

describe('every operation', () => {
  it('answers valid requests, and some of them well', async () => {
    for (const operation of operations) {
      let well = false;
      // An id that exists comes up in three of ten requests.
      for (let batch = 0; batch < BATCHES && !well; batch++) {
        const statuses = await fuzz(operation, true);
        well = [...statuses.keys()].some((status) => status < 300);
      }
      expect(well, `${operation.name} never answered well`).toBe(true);
    }
  });

  it('answers broken requests without failing', async () => {
    for (const operation of operations) await fuzz(operation, false);
  });

  it('lets nobody past whose key has neither the scope nor the user', async () => {
    const ofAll = fc.constantFrom(...operations);
    const asked = ofAll.chain((operation) =>
      fc.record({ operation: fc.constant(operation), request: requestsOf(operation, false) }),
    );
    await fc.assert(
      fc.asyncProperty(
        asked,
        fc.constantFrom(undefined, ...keys.keys()),
        async ({ operation, request }, key) => {
          const response = await ask(request, key);
          check(operation, response);
          const access = accessOf(operation.method, operation.path.replace(/\{(\w+)\}/g, ':$1'));
          const holder = key === undefined ? undefined : keys.get(key);
          if (response.statusCode >= 300 || access.scopes.length === 0) return;
          expect(holder).toBeDefined();
          expect(holder?.scopes.some((scope) => scope === 'admin' || access.scopes.includes(scope))).toBe(
            true,
          );
          if (holder?.user === undefined) return;
          expect(access.subject).not.toBe('everybody');
          if (typeof access.subject === 'object') expect(request.url).toMatch(/^\/(feed|users)\/u1\b/);
          if (access.subject === 'events') {
            const { events } = JSON.parse(String(request.payload)) as { events: { userId?: unknown }[] };
            for (const event of events)
              if (typeof event?.userId === 'string') expect(event.userId).toBe('u1');
          }
        },
      ),
      { numRuns: RUNS * 8 },
    );
  });
});
