// Reads one HTTP/1.1 answer out of a byte stream (RFC 9112): by length, chunked, or until the connection ends. Pure.

export interface HttpAnswer {
  status: number;
  /** Seconds of Retry-After; null when there was none. */
  retryAfter: number | null;
  body: Buffer;
}

interface Head {
  status: number;
  retryAfter: number | null;
  length: number | null;
  chunked: boolean;
  close: boolean;
  bytes: number;
}

const MAX_HEAD_BYTES = 65_536;
const MAX_BODY_BYTES = 64 << 20;

/** Headers that matter are found by name at the start of a line, in any case. */
const header = (name: string) => new RegExp(`\\r\\n${name}:[ \\t]*([^\\r\\n]*)`, 'i');
const CONTENT_LENGTH = header('content-length');
const TRANSFER_ENCODING = header('transfer-encoding');
const CONNECTION = header('connection');
const RETRY_AFTER = header('retry-after');

export class HttpResponseReader {
  #parts: Buffer[] = [];
  #bytes = 0;
  #head: Head | null = null;

  /** True when no byte of an answer has come yet. */
  get untouched(): boolean {
    return this.#bytes === 0;
  }

  /** Whether the server keeps the connection open after this answer. */
  get reusable(): boolean {
    return this.#head !== null && !this.#head.close;
  }

  /** Takes bytes; the answer when it is whole, else null. Throws when the bytes are no HTTP/1.1 answer. */
  push(chunk: Buffer): HttpAnswer | null {
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
    this.#head ??= this.#readHead();
    const head = this.#head;
    if (head === null) return null;
    if (this.#bytes - head.bytes > MAX_BODY_BYTES) throw new Error('the answer is too large');
    if (head.chunked) {
      const body = unchunked(this.#joined().subarray(head.bytes));
      return body && { status: head.status, retryAfter: head.retryAfter, body };
    }
    if (head.length === null || this.#bytes < head.bytes + head.length) return null;
    return this.#answer(head, head.length);
  }

  /** The stream ended: the answer when that is what ends it, else null. */
  end(): HttpAnswer | null {
    const head = this.#head;
    if (head === null || head.chunked || head.length !== null) return null;
    return this.#answer(head, this.#bytes - head.bytes);
  }

  #answer(head: Head, length: number): HttpAnswer {
    const body = this.#joined().subarray(head.bytes, head.bytes + length);
    return { status: head.status, retryAfter: head.retryAfter, body };
  }

  #joined(): Buffer {
    if (this.#parts.length > 1) this.#parts = [Buffer.concat(this.#parts, this.#bytes)];
    return this.#parts[0];
  }

  #readHead(): Head | null {
    const bytes = this.#joined();
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) {
      if (this.#bytes > MAX_HEAD_BYTES) throw new Error('the answer has no end of headers');
      return null;
    }
    const text = bytes.toString('latin1', 0, end);
    const status = Number(/^HTTP\/1\.[01] ([1-5]\d\d)(?: |\r|$)/.exec(text)?.[1]);
    if (Number.isNaN(status)) throw new Error('the answer is not HTTP/1.1');
    if (status < 200) {
      // An interim answer: the real one follows.
      this.#parts = [bytes.subarray(end + 4)];
      this.#bytes = this.#parts[0].length;
      return this.#readHead();
    }
    const length = CONTENT_LENGTH.exec(text)?.[1];
    if (length !== undefined && !/^\d+$/.test(length)) throw new Error('the answer has a bad Content-Length');
    const chunked = /\bchunked\b/i.test(TRANSFER_ENCODING.exec(text)?.[1] ?? '');
    const empty = status === 204 || status === 304;
    const retryAfter = RETRY_AFTER.exec(text)?.[1];
    return {
      status,
      retryAfter: retryAfter !== undefined && /^\d+$/.test(retryAfter) ? Number(retryAfter) : null,
      length: empty ? 0 : length === undefined ? null : Number(length),
      chunked: chunked && !empty,
      close: /\bclose\b/i.test(CONNECTION.exec(text)?.[1] ?? '') || text.startsWith('HTTP/1.0'),
      bytes: end + 4,
    };
  }
}

/** The body of whole chunks, or null while some are missing. */
function unchunked(bytes: Buffer): Buffer | null {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const sizeText = bytes.toString('latin1', at, lineEnd).split(';')[0].trim();
    if (!/^[\da-f]{1,8}$/i.test(sizeText)) throw new Error('the answer has a bad chunk size');
    const size = Number.parseInt(sizeText, 16);
    const start = lineEnd + 2;
    if (size === 0) {
      const closed = bytes.subarray(start, start + 2).equals(Buffer.from('\r\n'));
      return closed || bytes.indexOf('\r\n\r\n', start) >= 0 ? Buffer.concat(parts) : null;
    }
    if (bytes.length < start + size + 2) return null;
    parts.push(bytes.subarray(start, start + size));
    at = start + size + 2;
  }
}
