// Redis keys of one database's change stream. The braces keep them in one slot of a cluster: one script writes them.

export interface StreamKeys {
  /** The changes, a Redis stream. */
  stream: string;
  /** Events published, by type: a hash. */
  counters: string;
  /** Set by the leading updater and expiring: when the stream was last known to be complete, unix ms. */
  live: string;
}

/** `slot` names the replication slot, and with it the database. */
export function streamKeys(slot: string, prefix = 'feedrank:'): StreamKeys {
  const base = `${prefix}{changes:${slot}}`;
  return { stream: `${base}:stream`, counters: `${base}:counters`, live: `${base}:live` };
}
