// Posts, users, edges and events as the outside knows them: keys are strings, times unix ms. Types only.
import type { EventType } from '../vocabulary.ts';

export interface Post {
  id: string;
  authorId: string;
  createdAt: number;
  title?: string;
  text?: string;
  topic?: string;
  /** ISO 639-1; detected from the text on ingestion when absent. */
  language?: string;
  url?: string;
  mediaType?: 'none' | 'image' | 'video' | 'link';
  replyTo?: string;
  sensitive?: boolean;
  /** Free-form, stored and given back; at most 4 kB of JSON. */
  extra?: Record<string, unknown>;
}

export interface User {
  id: string;
  createdAt: number;
  languages?: string[];
  country?: string;
  /** Interests given at sign-up; they make the cold-start vector. */
  topics?: string[];
  showSensitive?: boolean;
}

export type EdgeKind = 'follow' | 'block' | 'mute_author' | 'mute_word' | 'mute_topic';

export interface Edge {
  userId: string;
  kind: EdgeKind;
  /** An author (= user) id, a word, or a topic. */
  target: string;
  createdAt: number;
}

export interface EngagementEvent {
  /** Idempotency key; unique per user. Made from the other fields when the client gives none. */
  id: string;
  userId: string;
  postId: string;
  type: EventType;
  at: number;
  dwellMs?: number;
  /** Tracking token of the served post. */
  token?: string;
  /** 0-based position in the feed at which it was shown. */
  position?: number;
}
