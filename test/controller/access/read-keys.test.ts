/** Tests what a key of scope read sees of a build that has failed: everything but the words of its log. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { BuildDetail } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { attemptEvidence } from '../../../controller/schema/index.ts';
import { db, insertAttempt, insertBuild, unique } from '../factories/rows.ts';
import { api } from '../factories/scenarios.ts';

const LINE = unique('a line of the log');
const now = Date.now();

async function aFailedBuild(explained: object): Promise<string> {
  const buildId = await insertBuild({ status: 'failed', verdict: 'build_failed', endedAt: now });
  const told = explained as NonNullable<Parameters<typeof insertAttempt>[2]>['explained'];
  const ended = { endedAt: now, verdict: 'build_failed' as const, explained: told, secrets: [['sec_1', 1]] };
  await insertAttempt(buildId, 1, ended as Parameters<typeof insertAttempt>[2]);
  const evidence = { collectedAt: '2026-11-28T00:00:00Z', logTail: LINE, vmDisk: { freeBytes: 1, usedPercent: 99 } };
  await db.insert(attemptEvidence).values({ buildId, attempt: 1, evidence });
  return buildId;
}
const EXPLAINED = {
  'the lines that may tell': { tellingLines: [LINE] },
  'the lines of a known phase': {
    id: 'phase_failed',
    sentence: 'INSTALL_PODS failed.',
    advice: 'See it.',
    line: LINE,
    tellingLines: [],
  },
  'a known error': { id: 'pods', sentence: 'A pod is missing.', advice: 'Run pod install.', line: LINE },
};

for (const [what, explained] of Object.entries(EXPLAINED))
  test(`it sees neither the end of the log nor ${what}`, async () => {
    const id = await aFailedBuild(explained);
    const reader = { ...RIGHTS_TO_ALL, maxPriority: 0 };
    const { secret } = await createKey(env, { name: 'dashboard', scope: 'read', rights: reader }, now);
    const ofOther = await api<BuildDetail>('GET', `/api/builds/${id}`);
    expect(JSON.stringify(ofOther.body).split(LINE).length - 1).toBe(3);
    for (const path of [`/api/builds/${id}`, '/api/builds?limit=100']) {
      const { status, body } = await api<object>('GET', path, undefined, secret);
      expect([status, JSON.stringify(body).includes(id), JSON.stringify(body).includes(LINE)]).toEqual([
        200,
        true,
        false,
      ]);
    }
    const { body } = await api<BuildDetail>('GET', `/api/builds/${id}`, undefined, secret);
    expect(body.attempts[0]).toMatchObject({ evidence: { vmDisk: { usedPercent: 99 } }, secrets: [] });
    expect(body.verdict?.explained?.sentence ?? '').toBe('sentence' in explained ? explained.sentence : '');
  });
