// Orders a user's erasure against everything that writes about users. Writers hold the lock shared for their
// transaction, an erasure holds it alone: what a writer committed before is erased, what it commits after has a
// later change position. Advisory locks take no transaction id, so positions follow the order of the lock.

/** Any fixed number; shared by all processes on one database. */
const ERASURE_LOCK = 7_316_002;

/** A CTE named `guard` with one row, to be cross-joined into the source of a write. */
export const ERASURE_GUARD = `guard as materialized (select pg_advisory_xact_lock_shared(${ERASURE_LOCK}))`;

export const LOCK_FOR_ERASURE = {
  name: 'erasure_lock',
  text: `select pg_advisory_xact_lock(${ERASURE_LOCK})`,
};
