// Address ranges of proxies whose X-Forwarded-For is believed. Called by config.ts.
import { isIP } from 'node:net';

/** Names that Fastify knows. */
const NAMED = ['loopback', 'linklocal', 'uniquelocal'];

/** Whether a text is comma-separated addresses or CIDR ranges; a range of all addresses would believe everybody. */
export function areProxyRanges(text: string): boolean {
  return text.split(',').every((part) => isProxyRange(part.trim()));
}

function isProxyRange(range: string): boolean {
  if (NAMED.includes(range)) return true;
  const [address, prefix, ...rest] = range.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  if (prefix === undefined) return true;
  const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : 0;
  return bits >= 1 && bits <= (version === 4 ? 32 : 128);
}
