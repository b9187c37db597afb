// What a caller may do, and for whom. The closed list of scopes; keys, tokens and the table of routes use it.

/** Allowed actions; `admin` includes all of them, for all users. */
export const SCOPES = ['feed:read', 'events:write', 'profile:write', 'ingest', 'ops', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** A token with this scope acts for every user, not only for its subject. Keys do so unless they name a user. */
export const SERVICE_SCOPE = 'service';

/** Who sent a request, as far as its credentials say. */
export interface Principal {
  /** `key:<id>` or `jwt:<subject>`; for logs, limits and idempotency. */
  id: string;
  /** The one user whose data it may touch; null = every user. */
  userId: string | null;
  scopes: ReadonlySet<Scope>;
  /** Requests a minute; null = the configured default, 0 = no limit. */
  requestsPerMinute: number | null;
}

export function isScope(text: string): text is Scope {
  return (SCOPES as readonly string[]).includes(text);
}

/** True when one of `scopes` is held; an empty list allows everybody. */
export function allows({ scopes: held }: Principal, scopes: readonly Scope[]): boolean {
  return scopes.length === 0 || held.has('admin') || scopes.some((scope) => held.has(scope));
}
