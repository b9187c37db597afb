// `npm run evaluate -- <what> …`: finds the evaluation by name and hands it the rest of the command line.
const EVALUATIONS: Record<string, { summary: string; run: (argv: string[]) => Promise<void> }> = {
  demo: {
    summary: 'NDCG@50 of the served feed of a generated world against its true affinities, stage by stage',
    run: async (argv) => (await import('./evaluate/demo-stages.ts')).runDemoEvaluation(argv),
  },
  retrieval: {
    summary: 'Recall@20 and NDCG@20 on a folder with LightGCN-style train.txt and test.txt',
    run: async (argv) => (await import('./evaluate/retrieval.ts')).runRetrieval(argv),
  },
  ctr: {
    summary: 'AUC and log loss on a folder with train.libfm, validation.libfm and test.libfm',
    run: async (argv) => (await import('./evaluate/ctr.ts')).runCtr(argv),
  },
  'kuairand-libfm': {
    summary: 'makes such a folder from the KuaiRand files',
    run: async (argv) => (await import('./evaluate/kuairand-libfm.ts')).runKuairandLibfm(argv),
  },
  globo: {
    summary:
      'next clicks of a news stream, learned as they arrive: HR@20 beside popularity and co-occurrence',
    run: async (argv) => (await import('./evaluate/globo.ts')).runGlobo(argv),
  },
  kuairand: {
    summary: 'AUC of each head beside LightGBM, retrieval recall and the two stages on the KuaiRand files',
    run: async (argv) => (await import('./evaluate/kuairand.ts')).runKuairand(argv),
  },
  ebnerd: {
    summary: 'AUC within news impressions beside LightGBM on the EB-NeRD files',
    run: async (argv) => (await import('./evaluate/ebnerd.ts')).runEbnerd(argv),
  },
  ope: {
    summary: 'off-policy value by IPS, SNIPS and DR, of Open Bandit logs or of the serving log',
    run: async (argv) => (await import('./evaluate/ope.ts')).runOpe(argv),
  },
  quality: {
    summary: 'the quality page out of the reports of the others, misses first',
    run: async (argv) => (await import('./evaluate/quality.ts')).runQuality(argv),
  },
};

const [what, ...rest] = process.argv.slice(2);
const usage = `usage: npm run evaluate -- WHAT [flags]   (WHAT --help lists the flags)\n\n${Object.entries(
  EVALUATIONS,
)
  .map(([name, { summary }]) => `  ${name.padEnd(16)} ${summary}`)
  .join('\n')}`;

if (what === undefined || what === '--help' || what === '-h') {
  console.log(usage);
  process.exit(what === undefined ? 2 : 0);
}
const evaluation = EVALUATIONS[what];
if (evaluation === undefined) {
  console.error(`evaluate: unknown evaluation '${what}', expected ${Object.keys(EVALUATIONS).join(' or ')}`);
  process.exit(2);
}
try {
  await evaluation.run(rest);
} catch (error) {
  console.error(`evaluate ${what}: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
