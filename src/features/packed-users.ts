// Users' tower inputs as three arrays for all of them: a batch crosses to a worker without a copy, and the tower reads it
// as it is. Used by embed-pool.ts and user-tower.ts.

/** Parallel lists, newest engagement first; entries beyond TOWER_ROWS are ignored. */
export interface UserTowerInput {
  /** Unit post vectors [dim]. */
  vectors: Float32Array[];
  /** ENGAGEMENT_CODES: 1 click, 2 like, 3 reply, 4 share, 5 long dwell, 6 negative; 0 is ignored. */
  types: number[];
  ageHours: number[];
}

/** Zeros where a user has fewer engagements. */
export interface PackedUsers {
  count: number;
  /** [count, TOWER_ROWS, dim] */
  history: Float32Array;
  /** [count, TOWER_ROWS] */
  types: Int32Array;
  /** [count, TOWER_ROWS] */
  ages: Float32Array;
}

/** Rows of the tower's history input. */
export const TOWER_ROWS = 30;
const MAX_TYPE = 6;

/** Vectors that are not finite or of another length are left out. */
export function packUsers(users: readonly UserTowerInput[], dim: number): PackedUsers {
  const count = users.length;
  const history = new Float32Array(count * TOWER_ROWS * dim);
  const types = new Int32Array(count * TOWER_ROWS);
  const ages = new Float32Array(count * TOWER_ROWS);
  for (let u = 0; u < count; u++) {
    const user = users[u];
    const length = Math.min(user.vectors.length, TOWER_ROWS);
    for (let h = 0; h < length; h++) {
      const vector = user.vectors[h];
      const type = user.types[h];
      const at = u * TOWER_ROWS + h;
      if (!(type > 0 && type <= MAX_TYPE) || vector.length !== dim || !allFinite(vector)) continue;
      history.set(vector, at * dim);
      types[at] = type;
      ages[at] = Number.isFinite(user.ageHours[h]) ? Math.max(0, user.ageHours[h]) : 0;
    }
  }
  return { count, history, types, ages };
}

/** What a message must hand over for the arrays not to be copied. */
export function buffersOf({ history, types, ages }: PackedUsers): ArrayBuffer[] {
  return [history, types, ages].map(({ buffer }) => buffer as ArrayBuffer);
}

function allFinite(vector: Float32Array): boolean {
  for (let i = 0; i < vector.length; i++) if (!Number.isFinite(vector[i])) return false;
  return true;
}
