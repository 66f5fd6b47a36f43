/** Makes builds that have ended, as the API shows them. */
import { BuildDetail, type Verdict } from '#contract';
import { explainVerdict } from '../../../controller/builds/verdicts.ts';
import { explainReason } from '../../../controller/stores/reasons.ts';

export interface End {
  /** Left out: it has succeeded, unless the log explains why it has failed. */
  verdict?: Verdict;
  /** The line of the log that shows a known error. */
  explained?: string;
  telling?: string[];
  message?: string;
  supersededBy?: string;
  profile?: string;
  artifact?: string;
  /** The store's message when it refused the app. */
  store?: string;
}

export function endedBuild({ explained, telling = [], message, store, artifact, ...end }: End): BuildDetail {
  const code = end.verdict ?? (explained === undefined ? null : 'build_failed');
  const at = (second: number) => new Date(Date.UTC(2026, 10, 29, 10, 0, second)).toISOString();
  const failure = store === undefined ? null : explainReason('build_refused', store);
  const known =
    explained === undefined ? {} : { id: 'x', sentence: 'A sentence.', advice: 'An advice.', line: explained };
  const options = { store: 'app-store-connect' };
  return BuildDetail.parse({
    ...{ id: 'b_1', projectId: 'prj_1', project: 'shop', platform: 'ios', command: null, trusted: true },
    profile: end.profile ?? 'production',
    status: code === null ? 'succeeded' : code === 'cancelled' ? 'cancelled' : 'failed',
    verdict: code && explainVerdict(code, null, message ?? null, { ...known, tellingLines: telling }),
    supersededBy: end.supersededBy ?? null,
    ...{
      cause: null,
      attempt: 1,
      maxAttempts: 1,
      workerId: 'wrk_1',
      source: { sha256: 'a'.repeat(64) },
      artifactGlobs: [],
    },
    ...{
      timeouts: TIMEOUTS,
      pool: 'default',
      labels: {},
      priority: 0,
      retryOf: null,
      live: null,
      waitingFor: null,
      queue: null,
    },
    submit: failure && { options, warnings: [], failure },
    origin: { commit: '4a1f0c7b9d2e3f5061728394a5b6c7d8e9f00112' },
    ...{ createdAt: at(0), queuedAt: at(0), startedAt: at(20), endedAt: at(50), attempts: [] },
    events: [
      { type: 'claim', attempt: 1, at: at(5), detail: {} },
      { type: 'start', attempt: 1, at: at(20), detail: {} },
    ],
    artifacts: artifact === undefined ? [] : [{ name: artifact, attempt: 1, sha256: 'b'.repeat(64), size: 4_200_000 }],
  });
}

const TIMEOUTS = {
  heartbeatTimeoutMs: 120_000,
  workerTimeoutMs: 120_000,
  bootTimeoutMs: 600_000,
  noOutputTimeoutMs: 900_000,
  buildTimeoutMs: 7_200_000,
  queueTimeoutMs: 86_400_000,
};
