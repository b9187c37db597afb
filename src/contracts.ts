// Domain types and ports; types only, imported by every stage. Rows live inside (retrieve → slate), keys outside.
export type * from './contracts/catalogue.ts';
export type * from './contracts/domain.ts';
export type * from './contracts/feed-jobs.ts';
export type * from './contracts/request.ts';
export type * from './contracts/stores.ts';
