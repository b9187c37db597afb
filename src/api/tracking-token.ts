// The token each served post carries and each event gives back: 18 bytes of request id and position, signed together
// with user and post. It joins an event to the serving log without trusting the client.
import { Signer } from './signer.ts';

const REQUEST_ID_BYTES = 16;

export interface TrackedServing {
  requestId: string;
  /** 0-based position in the feed. */
  position: number;
}

export class TrackingTokens {
  readonly #signer: Signer;
  /** Of the last request: a page's tokens are issued one after the other. */
  readonly #payload = Buffer.alloc(REQUEST_ID_BYTES + 4);
  #requestId = '';

  constructor(secret: string) {
    this.#signer = new Signer(secret, 'tracking-token');
  }

  /** `requestId` is base64url of 16 bytes, as made by `newRequestId`. */
  issue(serving: TrackedServing, userId: string, postId: string): string {
    const payload = this.#payload;
    if (serving.requestId !== this.#requestId) {
      payload.fill(0);
      payload.write(serving.requestId, 0, REQUEST_ID_BYTES, 'base64url');
      this.#requestId = serving.requestId;
    }
    payload.writeUInt32BE(serving.position, REQUEST_ID_BYTES);
    return this.#signer.seal(payload, [userId, postId]);
  }

  /** null when the token was not issued for this post to this user. */
  read(token: string, userId: string, postId: string): TrackedServing | null {
    const payload = this.#signer.open(token, [userId, postId]);
    if (payload?.length !== REQUEST_ID_BYTES + 4) return null;
    return {
      requestId: payload.subarray(0, REQUEST_ID_BYTES).toString('base64url'),
      position: payload.readUInt32BE(REQUEST_ID_BYTES),
    };
  }
}
