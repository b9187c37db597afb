import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FeedAnswer, SlatePost } from '../../src/contracts.ts';
import { type PackedAnswer, packAnswer, transferable, unpackAnswer } from '../../src/packed-answer.ts';
import { HEADS, type Head, SOURCES } from '../../src/vocabulary.ts';

const number = fc.double({ noNaN: true, noDefaultInfinity: true });
const explanation = fc.record({
  sources: fc.array(fc.record({ source: fc.constantFrom(...SOURCES), rank: fc.nat() }), { maxLength: 2 }),
  heads: fc.array(
    fc.record({ head: fc.constantFrom(...HEADS), probability: number, weight: number, contribution: number }),
    { maxLength: 2 },
  ),
  rules: fc.array(fc.record({ rule: fc.string(), effect: fc.string() }), { maxLength: 2 }),
  rankedPosition: fc.nat(),
});
const post: fc.Arbitrary<SlatePost> = fc
  .record({
    postId: fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
    score: number,
    propensity: number,
    similarity: number,
    sources: fc.subarray([...SOURCES]),
    probabilities: fc.option(
      fc
        .tuple(...HEADS.map(() => fc.float({ min: 0, max: 1, noNaN: true })))
        .map(
          (values) => Object.fromEntries(HEADS.map((head, i) => [head, values[i]])) as Record<Head, number>,
        ),
    ),
  })
  .chain((plain) =>
    fc.option(explanation).map((explain): SlatePost => (explain ? { ...plain, explain } : plain)),
  );

function answerOf(posts: SlatePost[]): FeedAnswer {
  return {
    requestId: 'r',
    generation: 'g',
    model: 'm',
    rules: 'd',
    search: 'exact',
    posts,
    degraded: ['a'],
    stageMs: { rank: 1 },
    counts: { retrieved: 3, kept: 2, ranked: 1 },
    failures: [],
  };
}

describe('an answer on its way from a worker', () => {
  it('arrives as it was sent, through a message that moves its buffers', () => {
    const { port1, port2 } = new MessageChannel();
    fc.assert(
      fc.property(fc.array(post, { maxLength: 12 }), (posts) => {
        const packed = packAnswer(answerOf(posts));
        port1.postMessage(packed, transferable(packed));
        const { message } = receiveMessageOnPort(port2) as { message: PackedAnswer };
        expect(unpackAnswer(message)).toEqual(answerOf(posts));
      }),
    );
    port1.close();
  });
});
