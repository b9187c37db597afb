// A small training set with a signal to find, written by the trainer's own writer; no towers, no world.
import { type TrainingSetMeta, TrainingSetWriter } from '../../../scripts/train/training-set-writer.ts';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { randomOf, unitVector } from '../features/catalogue.ts';

const FEATURES = [
  'user_similarity@1',
  'post_rates@1',
  'history_similarity@1',
  'post_age@1',
  'context_position@1',
];
const POSTS = 200;
const ROWS_A_PAGE = 8;

export interface TinySet {
  rows?: number;
  /** Default: four features and the position. */
  features?: readonly string[];
  /** Changes an encoded row. */
  change?: (row: number, features: Float32Array) => void;
  /** Whether anybody clicks; default: as the similarity and the click rate say. */
  click?: (row: number) => boolean;
}

export async function writeTinySet(dir: string, options: TinySet = {}): Promise<TrainingSetMeta> {
  const { rows = 4000, features: ids = FEATURES, change, click } = options;
  const plan = compilePlan(ids);
  const random = randomOf(7);
  const writer = await TrainingSetWriter.open(dir, plan.width);
  const vectors = new Float32Array(POSTS * 64);
  for (let post = 0; post < POSTS; post++) vectors.set(unitVector(random), post * 64);
  let page = -1;
  for (let row = 0; row < rows; row++) {
    if (writer.full) await writer.drain();
    if (row % ROWS_A_PAGE === 0) page = addPage(writer, random);
    const features = writer.next();
    for (let i = 0; i < plan.width; i++) features[i] = random() * 2 - 1;
    const position = row % ROWS_A_PAGE;
    features.set([Math.log(1 + position), 1], plan.width - 2);
    const pleased = 1 / (1 + Math.exp(1.5 - 3 * features[0] - 1.5 * features[1] + 0.2 * position));
    change?.(row, features);
    const at = writer.add(
      1 + (page % 40),
      Math.floor(random() * POSTS),
      page,
      1_700_000_000_000 + row * 1000,
    );
    const clicked = click ? click(row) : random() < pleased;
    writer.label(at, 'click', clicked);
    if (!click) for (const head of HEADS.slice(1)) writer.label(at, head, clicked && random() < 0.3);
  }
  return writer.close(vectors, {
    features: plan.features.map(({ id, width, fromHistory }) => ({ id, width, fromHistory })),
    fromMs: 1_700_000_000_000,
    toMs: 1_700_000_000_000 + rows * 1000,
    seed: 1,
    tower: 'post-tower@1',
    userTower: 'user-tower@1',
    posts: POSTS,
  });
}

function addPage(writer: TrainingSetWriter, random: () => number): number {
  const { posts, types, hours } = writer.nextPage();
  const entries = Math.floor(random() * (posts.length + 1));
  posts.fill(-1);
  types.fill(0);
  hours.fill(0);
  for (let i = 0; i < entries; i++) {
    posts[i] = Math.floor(random() * POSTS);
    types[i] = 1 + Math.floor(random() * 6);
    hours[i] = i;
  }
  return writer.addPage();
}
