// Sends one webhook: signed as Standard Webhooks says, over a connection whose address was checked where it was looked up
// (a name cannot lead elsewhere in between), without following redirects and without reading the answer's body.
import { createHmac } from 'node:crypto';
import { lookup as systemLookup } from 'node:dns';
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { WebhookHosts } from './webhook-hosts.ts';

const TIMEOUT_MS = 10_000;
/** Of the answer's headers; its body is not read at all. */
const MAX_HEADER_BYTES = 16_384;
const SECRET = /^whsec_([A-Za-z0-9+/]+={0,2})$/;
/** Standard Webhooks, "Signature scheme": 192 to 512 bits. */
const SECRET_BYTES = { min: 24, max: 64 };

/** Keys of `whsec_<base64>`, separated by spaces: while one is replaced by another, both sign. null: not valid. */
export function webhookSecrets(text: string): Buffer[] | null {
  const secrets = text.split(' ').map((part) => Buffer.from(SECRET.exec(part)?.[1] ?? '', 'base64'));
  const { min, max } = SECRET_BYTES;
  return secrets.every(({ length }) => length >= min && length <= max) ? secrets : null;
}

/** Header `webhook-signature`: `v1,` and base64 of HMAC-SHA256 over id, seconds and body, for each secret. */
export function webhookSignature(
  secrets: readonly Buffer[],
  id: string,
  seconds: number,
  body: string,
): string {
  return secrets
    .map((secret) => createHmac('sha256', secret).update(`${id}.${seconds}.${body}`).digest('base64'))
    .map((signature) => `v1,${signature}`)
    .join(' ');
}

export interface WebhookSenderParts {
  hosts: WebhookHosts;
  secrets: readonly Buffer[];
  clock: { now(): number };
  /** Default: the system's. */
  lookup?: LookupFunction;
  timeoutMs?: number;
}

export class WebhookSender {
  readonly #parts: WebhookSenderParts;

  constructor(parts: WebhookSenderParts) {
    this.#parts = parts;
  }

  /** The status of the answer. @throws Error saying in a few words why there is none. */
  async send(url: string, id: string, message: object, signal: AbortSignal): Promise<number> {
    const { hosts, secrets, clock, timeoutMs = TIMEOUT_MS } = this.#parts;
    // The list may have changed since the job was made.
    const refusal = hosts.refusal(url);
    if (refusal !== null) throw new Error(`webhook.url ${refusal}`);
    const body = JSON.stringify(message);
    const seconds = Math.floor(clock.now() / 1000);
    const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    return post(url, body, {
      agent: false,
      signal: within,
      lookup: this.#checked(),
      maxHeaderSize: MAX_HEADER_BYTES,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'feedrank',
        'webhook-id': id,
        'webhook-timestamp': String(seconds),
        'webhook-signature': webhookSignature(secrets, id, seconds, body),
      },
    });
  }

  /** A look-up that gives no address which may not be connected to. */
  #checked(): LookupFunction {
    const { hosts, lookup = systemLookup as LookupFunction } = this.#parts;
    return (name, options, callback) =>
      lookup(name, options, (error, found, family) => {
        if (error) return callback(error, found, family);
        const addresses = typeof found === 'string' ? [found] : found.map(({ address }) => address);
        const refused = addresses.find((address) => isIP(address) === 0 || !hosts.allowsAddress(address));
        if (refused === undefined && addresses.length > 0) return callback(null, found, family);
        callback(new Error('the name leads to an address of a private network'), found, family);
      });
  }
}

function post(url: string, body: string, options: RequestOptions): Promise<number> {
  const start = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = start(url, { ...options, method: 'POST' }, (response) => {
      resolve(response.statusCode ?? 0);
      response.on('error', () => {});
      response.destroy();
    });
    request.on('error', reject);
    request.end(body);
  });
}
