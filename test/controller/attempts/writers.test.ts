/**
 * Checks who may write to an attempt: every purpose × every caller × every state of the attempt → allowed, or
 * the refusal's code.
 */
import { env } from 'cloudflare:workers';
import { beforeAll, expect, test } from 'vitest';
import { AFTERMATH_MS } from '#contract';
import type { AttemptCaller } from '../../../controller/access/auth.ts';
import { type Purpose, writerOf } from '../../../controller/attempts/writers.ts';
import { insertAttempt, insertBuild, insertWorker } from '../factories/rows.ts';

const NOW = Date.now();

/** The build and the attempt that a message is about. */
const STATES = {
  current: 'the current attempt, which runs',
  ended: 'the current attempt, which ended a minute ago',
  endedLongAgo: 'the current attempt, which ended before the aftermath',
  stale: 'an earlier attempt, which ended a minute ago',
  absent: 'an attempt that the build does not have',
  nowhere: 'a build that does not exist',
} as const;
type State = keyof typeof STATES;
const states = Object.keys(STATES) as State[];

const subjects = {} as Record<State, { buildId: string; attempt: number }>;
let ownWorker: string;

beforeAll(async () => {
  ownWorker = (await insertWorker()).workerId;
  const own = { workerId: ownWorker };
  const ended = async (agoMs: number) => {
    const buildId = await insertBuild({ status: 'failed', endedAt: NOW - agoMs });
    await insertAttempt(buildId, 1, { ...own, endedAt: NOW - agoMs });
    return { buildId, attempt: 1 };
  };
  const running = await insertBuild({ attempt: 2 });
  await insertAttempt(running, 1, { ...own, endedAt: NOW - 60_000 });
  await insertAttempt(running, 2, own);
  subjects.current = { buildId: running, attempt: 2 };
  subjects.stale = { buildId: running, attempt: 1 };
  subjects.absent = { buildId: running, attempt: 3 };
  subjects.ended = await ended(60_000);
  subjects.endedLongAgo = await ended(AFTERMATH_MS);
  subjects.nowhere = { buildId: 'bld_nowhere', attempt: 1 };
});

const token = ({ buildId, attempt }: { buildId: string; attempt: number }): AttemptCaller => ({
  kind: 'run',
  buildId,
  attempt,
  workerId: ownWorker,
});
const key = (workerId: string): AttemptCaller => ({ kind: 'worker', workerId });

/** The answer that `caller` gets for each state, when it asks about the attempt of that state. */
const seen = async (purpose: Purpose, caller: (subject: { buildId: string; attempt: number }) => AttemptCaller) =>
  Object.fromEntries(
    await Promise.all(
      states.map(async (state) => {
        const { buildId, attempt } = subjects[state];
        const writer = await writerOf(env, caller(subjects[state]), buildId, attempt, purpose, NOW);
        return [state, writer.ok ? 'ok' : writer.code] as const;
      }),
    ),
  );

const everywhere = (answer: string) => Object.fromEntries(states.map((state) => [state, answer]));
const exists = { current: 'ok', ended: 'ok', endedLongAgo: 'ok', stale: 'ok' };

test('a token of the attempt suffices for beats, reports, evidence and logs, and D1 is not asked', async () => {
  for (const purpose of ['beat', 'report', 'evidence', 'log'] as const)
    expect(await seen(purpose, token)).toEqual(everywhere('ok'));
  const { buildId } = subjects.current;
  const offline = { ...env, DB: null as never };
  expect((await writerOf(offline, token(subjects.current), buildId, null, 'log', NOW)).ok).toBe(true);
});

test('with a token, source and inputs are given to the attempt that runs alone', async () => {
  expect(await seen('take', token)).toEqual({
    ...{ current: 'ok', ended: 'attempt_ended', endedLongAgo: 'attempt_ended', stale: 'stale_attempt' },
    ...{ absent: 'not_found', nowhere: 'not_found' },
  });
});

test('a token speaks for its own attempt alone', async () => {
  for (const purpose of ['beat', 'report', 'evidence', 'log', 'take'] as const)
    expect(await seen(purpose, ({ buildId, attempt }) => token({ buildId, attempt: attempt + 1 }))).toEqual(
      everywhere('forbidden'),
    );
});

test('the key of the attempt’s worker beats, reports and writes the log until the aftermath is over', async () => {
  const caller = () => key(ownWorker);
  for (const purpose of ['report', 'evidence'] as const)
    expect(await seen(purpose, caller)).toEqual({ ...exists, absent: 'not_found', nowhere: 'not_found' });
  expect(await seen('beat', caller)).toEqual({ ...exists, absent: 'forbidden', nowhere: 'not_found' });
  expect(await seen('log', caller)).toEqual({
    ...{ ...exists, endedLongAgo: 'attempt_ended' },
    ...{ absent: 'not_found', nowhere: 'not_found' },
  });
  expect(await seen('take', caller)).toEqual(everywhere('forbidden'));
});

test('the key of another worker may do nothing', async () => {
  for (const purpose of ['report', 'evidence', 'log'] as const)
    expect(await seen(purpose, () => key('wrk_another'))).toEqual({
      ...everywhere('forbidden'),
      ...{ absent: 'not_found', nowhere: 'not_found' },
    });
  expect(await seen('beat', () => key('wrk_another'))).toEqual({ ...everywhere('forbidden'), nowhere: 'not_found' });
});

test('without a named attempt, a worker’s key means the current one', async () => {
  const { buildId } = subjects.current;
  expect(await writerOf(env, key(ownWorker), buildId, null, 'beat', NOW)).toMatchObject({ ok: true, attempt: 2 });
});
