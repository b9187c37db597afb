import { describe, expect, it } from 'vitest';
import { GroupCommit } from '../../../src/api/group-commit.ts';
import { deadlineIn } from '../../../src/deadline.ts';
import { invalid } from '../../../src/errors.ts';

const soon = () => deadlineIn(10_000);
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('group commit', () => {
  it('commits requests that arrive while a commit runs together, and gives each its own flags', async () => {
    const commits: number[][] = [];
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const group = new GroupCommit<number>('storing', async (items) => {
      commits.push([...items]);
      if (commits.length <= 2) await held;
      return items.map((item) => item % 2 === 0);
    });
    const first = group.add([2], soon());
    await turn();
    const second = group.add([3], soon());
    await turn();
    const rest = Array.from({ length: 20 }, (_, i) => group.add([10 + i, 11 + i], soon()));
    await turn();
    release();
    expect(await first).toEqual([true]);
    expect(await second).toEqual([false]);
    const flags = await Promise.all(rest);
    flags.forEach((pair, i) => {
      expect(pair).toEqual([i % 2 === 0, i % 2 !== 0]);
    });
    expect(commits).toHaveLength(3);
    expect(commits[2]).toHaveLength(40);
  });

  it('bounds the items of one commit', async () => {
    const sizes: number[] = [];
    const group = new GroupCommit<number>('storing', async (items) => {
      sizes.push(items.length);
      await turn();
      return items.map(() => true);
    });
    await Promise.all(Array.from({ length: 9 }, () => group.add(new Array(700).fill(1), soon())));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(6300);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2000);
  });

  it('fails only the request that brought what the store refuses', async () => {
    const group = new GroupCommit<string>('storing', async (items) => {
      await turn();
      if (items.includes('bad')) throw invalid('id', 'is bad');
      return items.map(() => true);
    });
    const answers = await Promise.allSettled(
      ['a', 'b', 'c', 'bad', 'd'].map((item) => group.add([item], soon())),
    );
    expect(answers.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
  });

  it('gives up on a commit at the deadline of the request', async () => {
    const group = new GroupCommit<number>('storing', () => new Promise(() => {}));
    await expect(group.add([1], deadlineIn(20))).rejects.toMatchObject({ code: 'timeout' });
  });
});
