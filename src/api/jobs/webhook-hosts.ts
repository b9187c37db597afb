// Which hosts a webhook may go to: the closed list of WEBHOOK_HOSTS, and never an address of a private network that the
// list does not name. Checked when a job is made, and again, with the address, by every connection.
import { BlockList, isIP } from 'node:net';

/** IANA special-purpose registries (RFC 6890 and its updates): not on the public internet, or not one machine. */
const NOT_PUBLIC = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  '::1/128',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  'fc00::/7',
  'fe80::/10',
  'ff00::/8',
];
const LOOPBACK = ['127.0.0.0/8', '::1/128'];
const NAME = /^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

interface HostRule {
  /** A name, `*.name` for the names below it, or an address. */
  host: string;
  /** null: the scheme's own; for this machine any. */
  port: number | null;
}

export class WebhookHosts {
  readonly #rules: HostRule[] = [];
  readonly #named = new BlockList();
  readonly #private = listOf(NOT_PUBLIC);
  readonly #loopback = listOf(LOOPBACK);
  readonly #allowsLoopback: boolean;

  /**
   * @param list comma-separated: names, `*.name`, `host:port`, addresses, and ranges (CIDR) that names may lead to.
   * @param allowsLoopback whether this machine may be named, and reached over http: in development.
   * @throws Error naming the entry.
   */
  constructor(list: string, allowsLoopback: boolean) {
    this.#allowsLoopback = allowsLoopback;
    for (const entry of list.split(',').map((part) => part.trim().toLowerCase())) this.#add(entry);
  }

  /** Why a webhook may not go there; null when it may, as far as the text says. */
  refusal(text: string): string | null {
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url === null) return 'must be an absolute URL';
    if (url.username !== '' || url.password !== '') return 'must not carry credentials';
    const host = hostOf(url);
    const isHere = host === 'localhost' || (isIP(host) > 0 && has(this.#loopback, host));
    if (isHere && !this.#allowsLoopback) return 'must not be this machine';
    if (url.protocol !== 'https:' && !(isHere && url.protocol === 'http:')) return 'must be https';
    if (!this.#rules.some((rule) => matches(rule, url, host, isHere))) {
      return isIP(host) > 0 && has(this.#named, host) && url.port === ''
        ? null
        : 'is not among the hosts of WEBHOOK_HOSTS';
    }
    return isIP(host) > 0 && !this.allowsAddress(host) ? 'is an address of a private network' : null;
  }

  /** Whether a connection to this address may be opened. */
  allowsAddress(address: string): boolean {
    if (has(this.#named, address)) return true;
    if (this.#allowsLoopback && has(this.#loopback, address)) return true;
    return !has(this.#private, address);
  }

  #add(entry: string): void {
    const bad = new Error(`WEBHOOK_HOSTS: '${entry}' is not a host, host:port, address or range`);
    if (entry.includes('/')) {
      if (!addRange(this.#named, entry)) throw bad;
      return;
    }
    if (isIP(entry) > 0) {
      this.#rules.push({ host: entry, port: null });
      addRange(this.#named, entry);
      return;
    }
    const [, host, port] = /^(.+?)(?::(\d{1,5}))?$/.exec(entry) ?? [];
    const bare = host?.replace(/^\[(.*)\]$/, '$1') ?? '';
    const number = port === undefined ? null : Number(port);
    if ((isIP(bare) === 0 && !NAME.test(bare)) || (number !== null && (number < 1 || number > 65_535)))
      throw bad;
    if (isIP(bare) > 0) addRange(this.#named, bare);
    this.#rules.push({ host: bare, port: number });
  }
}

function matches({ host: wanted, port }: HostRule, url: URL, host: string, isHere: boolean): boolean {
  const isHost = wanted.startsWith('*.') ? host.endsWith(wanted.slice(1)) : host === wanted;
  if (!isHost) return false;
  if (port === null) return url.port === '' || isHere;
  return port === Number(url.port || (url.protocol === 'https:' ? 443 : 80));
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) addRange(list, range);
  return list;
}

/** False when it is no address or range. */
function addRange(list: BlockList, range: string): boolean {
  const [address, prefix, ...rest] = range.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  const bits = version === 4 ? 32 : 128;
  const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  if (length < 1 || length > bits) return false;
  list.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6');
  return true;
}

function has(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}
