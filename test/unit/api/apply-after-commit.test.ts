import { describe, expect, it } from 'vitest';
import { ApplyAfterCommit } from '../../../src/api/apply-after-commit.ts';
import type { Change } from '../../../src/contracts.ts';
import { silent } from './world.ts';

const CHANGES: Change[] = [{ kind: 'post_deleted', postId: 'p1' }];

describe('changes whose applying hangs', () => {
  function open() {
    let failures = 0;
    const apply = new ApplyAfterCommit(
      () => new Promise(() => {}),
      silent,
      () => failures++,
      20,
    );
    return { apply, failures: () => failures };
  }

  it('are said to be delayed: the change feed brings them', async () => {
    const { apply, failures } = open();
    expect(await apply.soon(CHANGES)).toEqual(['apply_delayed']);
    expect(failures()).toBe(1);
  });

  it('are not said to be in force', async () => {
    const { apply, failures } = open();
    await expect(apply.before(CHANGES)).rejects.toMatchObject({ code: 'unavailable' });
    expect(failures()).toBe(1);
  });
});
