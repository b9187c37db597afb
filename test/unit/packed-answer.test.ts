import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FeedAnswer, SlatePost } from '../../src/contracts.ts';
import { AnswerColumns, type PackedAnswer, transferable, unpackAnswer } from '../../src/packed-answer.ts';
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

function packed({ posts, ...answer }: FeedAnswer): PackedAnswer {
  const isScored = posts.some(({ probabilities }) => probabilities !== null);
  const columns = new AnswerColumns(
    posts.length,
    isScored,
    posts.some(({ explain }) => explain),
  );
  for (const post of posts) {
    const bits = post.sources.reduce((sum, source) => sum | (1 << SOURCES.indexOf(source)), 0);
    const { probabilities } = post;
    const values = probabilities && Float32Array.from(HEADS, (head) => probabilities[head]);
    columns.add(post, bits, values, 0);
  }
  return columns.packed(answer);
}

/** Its posts give their parts when they are asked for them. */
function plain({
  postId,
  score,
  propensity,
  similarity,
  sources,
  probabilities,
  explain,
}: SlatePost): SlatePost {
  const post = { postId, score, propensity, similarity, sources, probabilities };
  return explain ? { ...post, explain } : post;
}

describe('an answer on its way from a worker', () => {
  it('arrives as it was sent, through a message that moves its buffers', () => {
    const { port1, port2 } = new MessageChannel();
    fc.assert(
      fc.property(fc.array(post, { maxLength: 12 }), (posts) => {
        const sent = packed(answerOf(posts));
        port1.postMessage(sent, transferable(sent));
        const { message } = receiveMessageOnPort(port2) as { message: PackedAnswer };
        const { posts: unpacked, ...rest } = unpackAnswer(message);
        expect({ ...rest, posts: unpacked.map(plain) }).toEqual(answerOf(posts));
      }),
    );
    port1.close();
  });
});
