// Webhooks of feed jobs: where they may go, how they are signed, and how they are tried again. Deliveries go to an HTTP
// server of this machine, on the embedded database, by a clock that the test moves.
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, LookupFunction } from 'node:net';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebhookDeliveries } from '../../../../src/api/jobs/webhook-deliveries.ts';
import { WebhookHosts } from '../../../../src/api/jobs/webhook-hosts.ts';
import { WebhookSender, webhookSecrets, webhookSignature } from '../../../../src/api/jobs/webhook-sender.ts';
import { readConfig } from '../../../../src/config.ts';
import { deadlineIn } from '../../../../src/deadline.ts';
import { PostgresFeedJobs } from '../../../../src/features/store/postgres-feed-jobs.ts';
import { openSqlStore, type SqlStore } from '../../../../src/features/store/postgres-store.ts';
import { freshDataFolder } from '../../../setup/pglite-template.ts';

const NOW = Date.UTC(2026, 10, 24, 12);
const HOUR = 3_600_000;
const KEPT_MS = 24 * HOUR;
/** Of the specification's own example. */
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const secrets = webhookSecrets(SECRET) as Buffer[];
const soon = () => deadlineIn(10_000);

interface Call {
  url: string | undefined;
  headers: IncomingMessage['headers'];
  body: string;
}

describe('the signature', () => {
  it('is that of the specification’s example', () => {
    expect(
      webhookSignature(secrets, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1_614_265_330, '{"test": 2432232314}'),
    ).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  it('is made with both secrets while one is replaced', () => {
    const second = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const both = webhookSecrets(`${second} ${SECRET}`) as Buffer[];
    expect(webhookSignature(both, 'a', 1, 'b').split(' ')).toEqual([
      webhookSignature([both[0]], 'a', 1, 'b'),
      webhookSignature(secrets, 'a', 1, 'b'),
    ]);
  });

  it('needs a secret of 24 to 64 bytes', () => {
    const of = (bytes: number) => `whsec_${Buffer.alloc(bytes, 1).toString('base64')}`;
    for (const text of ['', 'secret', 'whsec_', of(23), of(65), `${of(32)} short`])
      expect(webhookSecrets(text), text).toBeNull();
    for (const bytes of [24, 64]) expect(webhookSecrets(of(bytes))).toHaveLength(1);
  });
});

describe('the hosts', () => {
  const hosts = new WebhookHosts(
    'hooks.example, *.partner.example, in.example:8443, 10.1.0.0/16, 10.2.3.4',
    false,
  );

  it.each([
    'https://hooks.example/a?b=c',
    'https://HOOKS.example./',
    'https://a.partner.example/',
    'https://a.b.partner.example/',
    'https://in.example:8443/',
    'https://10.1.2.3/',
    'https://10.2.3.4/',
  ])('allow %s', (url) => {
    expect(hosts.refusal(url)).toBeNull();
  });

  it.each([
    ['hooks.example', /absolute/],
    ['http://hooks.example/', /https/],
    ['ftp://hooks.example/', /https/],
    ['https://user:pass@hooks.example/', /credentials/],
    ['https://hooks.example:8443/', /not among/],
    ['https://in.example/', /not among/],
    ['https://partner.example/', /not among/],
    ['https://evilpartner.example/', /not among/],
    ['https://hooks.example.evil.example/', /not among/],
    ['https://hooks.example@evil.example/', /credentials/],
    ['https://evil.example/#hooks.example', /not among/],
    ['https://10.3.0.1/', /not among/],
    ['https://10.1.2.3:8080/', /not among/],
    ['https://169.254.169.254/latest/meta-data', /not among/],
    ['https://8.8.8.8/', /not among/],
    ['https://localhost/', /this machine/],
    ['https://0x7f.1/', /this machine/],
    ['https://2130706433/', /this machine/],
    ['https://[::1]/', /this machine/],
    ['https://[::ffff:127.0.0.1]/', /this machine/],
  ])('refuse %s', (url, reason) => {
    expect(hosts.refusal(url)).toMatch(reason);
  });

  it('refuse addresses of private networks, in whatever form, but those that are named', () => {
    for (const address of [
      '127.0.0.1',
      '0.0.0.0',
      '10.0.0.1',
      '172.16.0.1',
      '192.168.1.1',
      '169.254.169.254',
      '100.64.0.1',
      '224.0.0.1',
      '255.255.255.255',
      '::',
      '::1',
      '::ffff:10.0.0.1',
      '::ffff:a9fe:a9fe',
      '64:ff9b::a00:1',
      'fe80::1',
      'fd00::1',
      'ff02::1',
    ])
      expect(hosts.allowsAddress(address), address).toBe(false);
    for (const address of ['8.8.8.8', '2606:4700::1111', '10.1.2.3', '10.2.3.4', '::ffff:10.1.2.3'])
      expect(hosts.allowsAddress(address), address).toBe(true);
  });

  it('never let anything but the list’s own hosts through, whatever is asked for', () => {
    const text = fc.oneof(
      fc.webUrl({ withQueryParameters: true, withFragments: true }),
      fc.string({ maxLength: 60 }),
      fc
        .tuple(
          fc.constantFrom('https://', 'https:/', 'https:\\\\', 'HTTPS://'),
          fc.string({ maxLength: 12 }),
          fc.constantFrom('hooks.example', 'partner.example'),
          fc.string({ maxLength: 12 }),
        )
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (url) => {
        if (hosts.refusal(url) !== null) return;
        const { hostname, protocol } = new URL(url);
        expect(protocol).toBe('https:');
        expect(hostname).toMatch(/^(hooks\.example|.+\.partner\.example|in\.example|10\..*)\.?$/);
      }),
      { numRuns: 200 },
    );
  });

  it('let this machine be named in development only, where http is enough', () => {
    const list = 'localhost, 127.0.0.1, [::1]:99';
    const development = new WebhookHosts(list, true);
    expect(development.refusal('http://localhost:8080/')).toBeNull();
    expect(development.refusal('http://127.0.0.1:8080/')).toBeNull();
    expect(development.refusal('http://[::1]:99/')).toBeNull();
    expect(development.refusal('http://127.0.0.2/')).toMatch(/not among/);
    expect(new WebhookHosts(list, false).refusal('https://localhost/')).toMatch(/this machine/);
  });

  it('are refused at the start when they are none, and without a secret', () => {
    const config = (more: object) => () => readConfig({ WEBHOOK_SECRET: SECRET, ...more });
    for (const list of ['a b', 'a.example:0', 'a.example:70000', '10.0.0.0/33', '10.0.0.0/0', 'x/8', ','])
      expect(config({ WEBHOOK_HOSTS: list }), list).toThrow(/WEBHOOK_HOSTS/);
    expect(config({ WEBHOOK_HOSTS: 'a.example', WEBHOOK_SECRET: undefined })).toThrow(/WEBHOOK_SECRET/);
    expect(config({ WEBHOOK_HOSTS: 'a.example', WEBHOOK_SECRET: 'short' })).toThrow(/WEBHOOK_SECRET/);
    expect(config({ WEBHOOK_HOSTS: 'a.example' })).not.toThrow();
  });
});

describe('a delivery', () => {
  let folder: { path: string; remove(): void };
  let sql: SqlStore;
  let store: PostgresFeedJobs;
  let server: Server;
  let base: string;
  let answer: (call: Call) => { status: number; headers?: Record<string, string>; hang?: true };
  const calls: Call[] = [];
  const tries: string[] = [];
  const clock = { ms: NOW, now: () => clock.ms };
  const hosts = new WebhookHosts('127.0.0.1, name.example', true);
  let jobs = 0;

  beforeAll(async () => {
    folder = await freshDataFolder();
    sql = await openSqlStore({ dataDir: folder.path });
    store = new PostgresFeedJobs(sql.client);
    server = createServer(async (request, response) => {
      let body = '';
      for await (const part of request) body += part;
      const call = { url: request.url, headers: request.headers, body };
      calls.push(call);
      const { status, headers, hang } = answer(call);
      if (hang) return;
      response.writeHead(status, headers);
      // More than anybody should read.
      response.on('error', () => {});
      response.end('x'.repeat(200_000));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await sql.close();
    folder.remove();
  });
  beforeEach(() => {
    calls.length = 0;
    tries.length = 0;
    clock.ms = NOW;
    answer = () => ({ status: 204 });
  });
  afterEach(async () => {
    await sql.client.query('tests', { name: '', text: 'delete from feed_jobs' }, [], soon());
  });

  function deliveries(options: { random?: number; timeoutMs?: number; lookup?: LookupFunction } = {}) {
    const { random = 1, timeoutMs, lookup } = options;
    return new WebhookDeliveries({
      store,
      sender: new WebhookSender({ hosts, secrets, clock, timeoutMs, lookup }),
      clock,
      urlOf: (id) => `https://feeds.example/feed-jobs/${id}`,
      random: () => random,
      onTry: (outcome) => tries.push(outcome),
    });
  }

  /** A job of two users that has just ended, one of them without a page. */
  async function endedJob(url = `${base}/hook`): Promise<string> {
    const id = `job-${++jobs}`;
    const job = { id, owner: 'me', userIds: ['a', 'b'], limit: 5, webhookUrl: url, idempotency: null };
    const bounds = { open: 100, kept: 100 };
    await store.create({ ...job, createdAt: clock.ms, keptMs: KEPT_MS }, bounds, soon());
    const tasks = await store.claim(8, clock.ms, 60_000, soon());
    const page = { requestId: 'r', generatedAt: clock.ms, model: 'm', degraded: [], posts: [] };
    const outcomes = tasks.map((task) => ({
      task,
      outcome: task.n === 0 ? { state: 'done' as const, page } : { state: 'failed' as const },
    }));
    await store.settle(outcomes, { atMs: clock.ms, keptMs: KEPT_MS }, soon());
    return id;
  }

  const stateOf = async (id: string) => (await store.get(id, 'me', soon()))?.delivery;

  it('says that the job has ended, signed, and once', async () => {
    const id = await endedJob();
    await deliveries().step();
    await deliveries().step();
    expect(calls).toHaveLength(1);
    const [{ url, headers, body }] = calls;
    expect(url).toBe('/hook');
    expect(JSON.parse(body)).toEqual({
      jobId: id,
      status: 'done',
      users: 2,
      failed: 1,
      resultsUrl: `https://feeds.example/feed-jobs/${id}/results`,
    });
    expect(headers).toMatchObject({ 'webhook-id': id, 'content-type': 'application/json' });
    const seconds = Number(headers['webhook-timestamp']);
    expect(seconds).toBe(NOW / 1000);
    expect(headers['webhook-signature']).toBe(webhookSignature(secrets, id, seconds, body));
    expect(await stateOf(id)).toEqual({ state: 'delivered', attempts: 1, nextAt: null, error: null });
    expect(tries).toEqual(['delivered']);
  });

  it('is tried again after growing waits, kept in SQL, until it is taken', async () => {
    const id = await endedJob();
    answer = () => ({ status: 503 });
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      // Each a replica of its own: none remembers the one before.
      await deliveries().step();
      const state = await stateOf(id);
      expect(state).toMatchObject({ state: 'pending', attempts: i + 1, error: 'answered 503' });
      const nextAt = state?.nextAt ?? 0;
      waits.push(nextAt - clock.ms);
      clock.ms = nextAt - 1;
      await deliveries().step();
      expect(calls).toHaveLength(i + 1);
      clock.ms = nextAt;
    }
    expect(waits).toEqual([5000, 10_000, 20_000, 40_000, 80_000]);
    answer = () => ({ status: 200 });
    await deliveries().step();
    expect(await stateOf(id)).toMatchObject({ state: 'delivered', attempts: 6, error: null });
    expect(new Set(calls.map(({ headers }) => headers['webhook-id']))).toEqual(new Set([id]));
  });

  it('waits a random part of that: full jitter', async () => {
    const id = await endedJob();
    answer = () => ({ status: 500 });
    await deliveries({ random: 0.25 }).step();
    expect((await stateOf(id))?.nextAt).toBe(NOW + 1250);
  });

  it('is given up after a day, and says so; a receiver that is gone ends it at once', async () => {
    const id = await endedJob();
    answer = () => ({ status: 500 });
    for (let i = 0; i < 100 && (await stateOf(id))?.state === 'pending'; i++) {
      await deliveries().step();
      clock.ms = (await stateOf(id))?.nextAt ?? clock.ms;
    }
    expect(await stateOf(id)).toMatchObject({ state: 'dead', error: 'answered 500', nextAt: null });
    expect(clock.ms).toBe(NOW + 24 * HOUR);
    expect(calls.length).toBeGreaterThanOrEqual(12);
    const gone = await endedJob();
    answer = () => ({ status: 410 });
    await deliveries().step();
    expect(await stateOf(gone)).toMatchObject({ state: 'dead', attempts: 1 });
    expect(tries.filter((outcome) => outcome === 'dead')).toHaveLength(2);
  });

  it('keeps a job whose webhook is still tried, past its time', async () => {
    const id = await endedJob();
    answer = () => ({ status: 500 });
    await deliveries().step();
    await store.sweep({ atMs: NOW + KEPT_MS + 1, keptMs: KEPT_MS }, soon());
    expect(await stateOf(id)).toMatchObject({ state: 'pending' });
    await store.sweep({ atMs: NOW + KEPT_MS + 2 * HOUR, keptMs: KEPT_MS }, soon());
    expect(await store.get(id, 'me', soon())).toBeNull();
  });

  it('does not follow redirects', async () => {
    const id = await endedJob();
    answer = () => ({ status: 302, headers: { location: `${base}/elsewhere` } });
    await deliveries().step();
    expect(calls.map(({ url }) => url)).toEqual(['/hook']);
    expect(await stateOf(id)).toMatchObject({ state: 'pending', error: 'answered 302' });
  });

  it('ends at its time limit when nobody answers', async () => {
    const id = await endedJob();
    answer = () => ({ status: 0, hang: true });
    await deliveries({ timeoutMs: 200 }).step();
    expect(await stateOf(id)).toMatchObject({ state: 'pending', attempts: 1 });
  });

  it('goes nowhere when a name leads to a private address, and the connection asks for it itself', async () => {
    const asked: string[] = [];
    const leadsTo =
      (address: string): LookupFunction =>
      (name, options, callback) => {
        asked.push(name);
        const all = (options as { all?: boolean }).all;
        if (all) callback(null, [{ address, family: 4 }]);
        else callback(null, address, 4);
      };
    const id = await endedJob('https://name.example/hook');
    await deliveries({ lookup: leadsTo('169.254.169.254') }).step();
    expect(asked).toEqual(['name.example']);
    expect(await stateOf(id)).toMatchObject({
      state: 'pending',
      error: expect.stringMatching(/private network/),
    });
    expect(calls).toEqual([]);
  });

  it('is not sent to a host that is no longer on the list', async () => {
    const id = await endedJob('https://former.example/hook');
    await deliveries().step();
    expect(await stateOf(id)).toMatchObject({ error: expect.stringMatching(/WEBHOOK_HOSTS/) });
  });

  it('whose replica was killed is made again, by one replica', async () => {
    const id = await endedJob();
    const claims = await Promise.all([1, 2, 3].map(() => store.claimDeliveries(4, NOW, 60_000, soon())));
    const [killed] = claims.flat();
    expect(claims.flat()).toHaveLength(1);
    await deliveries().step();
    expect(calls).toEqual([]);
    clock.ms += 60_000;
    await deliveries().step();
    expect(calls).toHaveLength(1);
    // It lived after all: what it found out later changes nothing.
    await store.settleDelivery(killed, { state: 'dead', error: 'late' }, soon());
    expect(await stateOf(id)).toMatchObject({ state: 'delivered', attempts: 2 });
  });
});
