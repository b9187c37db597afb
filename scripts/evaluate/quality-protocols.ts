// What of each evaluation is the service's own code and what is not, as the quality page says it. Called by quality.ts.

export const PROTOCOLS = `**KuaiRand.** One pass over the period. Videos are posts of a \`PostTable\`; impressions, clicks, likes, comments, forwards
and rejections go through its counters (\`candidates/index/post-counters.ts\`) when they were known, readers are packed by
\`pack-user.ts\`, and \`features/feature-encoder.ts\` writes the service's features of every impression and of every retrieved
video as of that moment. The replay's own counters (per reader and author, tag, surface, length) stand beside them: a data
set of ids and no texts needs them, and the service does not have them. *Retrieval*: the service's sources (nearest over
\`two-tier-index.ts\`, similar, trending, fresh; \`candidates/retrieve.ts\` with its filters and merge) propose up to 3000 videos;
a small list ranker, which learns click by click and is not in the service, orders them, and the best 1000 are the retrieved
list. The vectors in the index are not the towers' but learned from clicks in the same pass (skip-gram): the towers read
texts. *Ranking* of the headline is trained and scored in PyTorch on the replay's counters, LightGBM on the same ones: with the
service's features beside them the network did no better on the day that chooses (best mean AUC .8095 against .8107),
while LightGBM, given both in one run, gained on \`like\` what the network did not (test .8844 against .8781). The second stage
reads both.
*Through the service alone* is a second pass in which nothing but \`src/\` answers: a ranker of the service's features alone,
exported as its model folder and opened by \`ranking/onnx-ranker.ts\`, gives the probabilities, and \`pipeline.ts\` (retrieve,
rank, value model with the click's weight, re-rank) the slates. It knows neither the surface (\`tab\`) nor any pair of reader
and tag, which is most of its distance to the headline. *Two stages*: see \`scripts/train/evaluate_lists.py\`.

**EB-NeRD.** The same: articles are posts from their first sight on, lists and reads its events, and the service's features
stand beside the replay's counters and beside how an article stands within its list, which a ranker of single posts cannot
know. *Through the service alone* scores each list's articles by \`onnx-ranker.ts\`. No retrieval: the list is given.

**Globo.** The headline's candidates and list ranker are the replay's own, as what it is held against (co-occurrence within
sessions, by the hour) is not a source of the service. *Through the service alone*: every click goes through the counters
and moves the reader's and the article's vector in the index at once, the sources propose 1000, a ranker of the service's
features, trained on earlier lists of the same sources, orders them through \`pipeline.ts\`.

**Calibration.** By a map that follows the traffic: Platt's scale and shift, refitted each hour on the test's impressions whose
outcome was known by then, with a half-life of three hours. One map of the days before misses by the change of the rate from
day to day, and is shown beside it. The error of 15 bins is not 0 where nothing is wrong: each row says what chance gives.

**Click-through, gowalla.** Protocols of their own (\`evaluate -- ctr\`, \`evaluate -- retrieval\`): the trainers are those tables';
the second builds and searches the service's index. Gowalla has ids and no texts, so its vectors are learned from ids: a
low-pass of the normalised interactions, whose user side is a sum over the history as the service's is, beside LightGCN
vectors, whose user side is trained and would be refreshed by the next training. **Off-policy**: \`evaluate -- ope\` reads Open Bandit's logs; on the
service's own log (\`--serving-log\`) everything is the service's record, which a test checks from end to end against what a
second service earns (\`test/integration/ope-serving-log.test.ts\`). **Demo**: the composed service answers.`;
