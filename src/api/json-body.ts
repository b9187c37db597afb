// Request bodies: JSON of bounded depth. The depth is read off the text before it is parsed, so that a body of a
// million brackets costs a scan and not a million arrays.
import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { FeedrankError } from '../errors.ts';

/** Bodies of this API are five deep; a post's `extra` may go further. */
export const MAX_JSON_DEPTH = 32;

const QUOTE = 34;
const BACKSLASH = 92;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

/** Replaces Fastify's parser for application/json. */
export function parseJsonBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    const refuse = (reason: string) =>
      done(new FeedrankError('invalid_input', `body: ${reason}`, { fields: [{ field: 'body', reason }] }));
    // Decoding would put replacement characters in the place of what is broken.
    if (!isUtf8(bytes)) return refuse('is not UTF-8');
    const body = bytes.toString();
    if (deeperThan(body, MAX_JSON_DEPTH)) return refuse(`is nested deeper than ${MAX_JSON_DEPTH} levels`);
    // Awaiting nothing: the default parser answers through `done`.
    void parse(request, body, done);
  });
}

/** Whether lists and objects of a JSON text are nested deeper than `limit`; a text that is no JSON may answer either. */
export function deeperThan(text: string, limit: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at + 1);
    else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      if (++depth > limit) return true;
    } else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) depth--;
  }
  return false;
}

/** Position of the closing quote, the text's length when there is none. */
function endOfString(text: string, from: number): number {
  for (let at = from; ; at++) {
    at = text.indexOf('"', at);
    if (at < 0) return text.length;
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH && at - 1 - escapes >= from) escapes++;
    if (escapes % 2 === 0) return at;
  }
}
