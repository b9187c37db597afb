// Which servers may be loaded: this machine's own, by a loopback address and plain HTTP. Everything else is refused.
import { UsageError } from '../import/command.ts';

export interface Target {
  host: string;
  port: number;
  /** `http://host:port`, without a path. */
  base: string;
}

const LOOPBACK_V4 = /^127(\.\d{1,3}){3}$/;

/** @throws UsageError when the URL is not `http://` on localhost, 127.0.0.0/8 or [::1]. */
export function loopbackTarget(text: string): Target {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null) throw new UsageError(`--url must be a URL such as http://127.0.0.1:3000, not "${text}"`);
  const local = url.hostname === 'localhost' || url.hostname === '[::1]' || LOOPBACK_V4.test(url.hostname);
  if (!local) {
    throw new UsageError(
      `--url must be on this machine (localhost, 127.0.0.1 or [::1]), not ${url.hostname}`,
    );
  }
  if (url.protocol !== 'http:') throw new UsageError(`--url must be http://, not ${url.protocol}//`);
  if (url.pathname !== '/' || url.search !== '' || url.username !== '') {
    throw new UsageError('--url must have no path, query or credentials');
  }
  const port = url.port === '' ? 80 : Number(url.port);
  // A name could be resolved elsewhere; the address cannot.
  const host = url.hostname === '[::1]' ? '::1' : url.hostname === 'localhost' ? '127.0.0.1' : url.hostname;
  return { host, port, base: `http://${host === '::1' ? '[::1]' : host}:${port}` };
}
