// The rule of imports (ARCHITECTURE.md): kernel ← stages ← pipeline ← worker, pool ← api ← compose ← main.
const kernel =
  '^src/(contracts|vocabulary|hashing|post-record|post-text|errors|deadline|steady-clock|telemetry|tracing|logger|lru-map|cache-outcome|watched-file|resilience|admission)\\.ts$|^src/(resilience|contracts)/';
const stages = '^src/(candidates|features|ranking|rerank)/';

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'kernel-imports-only-kernel',
      severity: 'error',
      from: { path: kernel },
      to: { path: '^src/', pathNot: kernel },
    },
    {
      name: 'stages-do-not-import-each-other',
      severity: 'error',
      from: { path: '^src/(candidates|features|ranking|rerank)/' },
      to: {
        path: stages,
        pathNot: ['^src/$1/', '^src/features/(feature-schema|feature-encoder|model-artifact)\\.ts$'],
      },
    },
    {
      name: 'stages-import-nothing-above',
      severity: 'error',
      from: { path: stages },
      to: { path: '^src/', pathNot: [kernel, stages] },
    },
    {
      name: 'src-never-imports-scripts',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^scripts/' },
    },
    {
      name: 'drivers-only-in-adapters',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(features/(store|stream)/|compose\\.ts)' },
      to: { path: 'node_modules/(ioredis|pg|lmdb|@electric-sql)/' },
    },
    {
      name: 'onnxruntime-only-in-its-adapters',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot:
          '^src/(features/(post-tower|user-tower|model-artifact|embed-[a-z]+)|ranking/onnx-[a-z-]+)\\.ts$',
      },
      to: { path: 'node_modules/onnxruntime-node/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'hnswlib-only-in-its-adapter',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/candidates/index/hnsw-index\\.ts$' },
      to: { path: 'node_modules/hnswlib-node/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    parser: 'swc',
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
