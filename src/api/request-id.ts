import { randomBytes } from 'node:crypto';

/** 16 random bytes, base64url: 22 characters. Made here for every request; a client's own id is not taken over. */
export function newRequestId(): string {
  return randomBytes(16).toString('base64url');
}
