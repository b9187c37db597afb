import { defineConfig } from 'vitest/config';

// Real ONNX, HNSW, Redis and Postgres: native code, so every file gets its own process.
export default defineConfig({
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
