/**
 * Gives a build its number when an attempt of it asks for one.
 *
 * Invariant: a build gets one number, which the first answer stores together with the move of the counter.
 * All its attempts get that one. No number is given to two trusted builds that ask for one more. A build that
 * is not trusted gets a number and moves no counter.
 */
import { APPS_OF_PROJECT_MAX, type BuildNumberAnswer, type BuildNumberRequest, buildNumberMax } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { HAS_LOST_RIGHT, whyNoMore } from '../access/still-may.ts';
import type { BuildRow } from '../builds/rows.ts';
import { giveNumber } from '../builds/writes-without-event.ts';
import {
  type AppKey,
  type Asked,
  aboveMaximum,
  isJump,
  jumpRefused,
  mayHaveNumber,
  moveCounter,
  type NamedApp,
  nextNumber,
  nextNumberNow,
  notSeeded,
  readCounter,
  tooManyApps,
} from '../projects/build-numbers.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { writerOf } from './writers.ts';

/** A request is judged anew if another one has changed the counter between the judgement and the batch. */
const RACES_MAX = 4;

type Answered = { ok: true; answer: BuildNumberAnswer } | Refusal;

/**
 * Refused: `number_not_seeded`; `forbidden` for a number that the build may not have; as writers.ts refuses
 * an attempt that does not run.
 */
export async function numberOfAttempt(
  env: Env,
  caller: AttemptCaller,
  buildId: string,
  { app, increment }: BuildNumberRequest,
  now: number,
): Promise<Answered> {
  for (let race = 0; race < RACES_MAX; race++) {
    const taker = await writerOf(env, caller, buildId, null, 'take', now);
    if (!taker.ok) return taker;
    const { build } = taker;
    if (build.buildNumber !== null) return answerOf(build);
    if (build.projectId === '') return refusal('unavailable', 'the project of the build is not known yet; ask again');
    if (build.appId !== null && build.appId !== app.id) return anotherApp(build, app.id);
    const given = Math.max(build.appBuildNumber ?? 0, app.buildNumber ?? 0);
    const key = { projectId: build.projectId, platform: build.platform, appId: app.id };
    const asked = { given, increment };
    const judged = await judge(env, build, key, asked, now);
    if (!judged.ok) return judged;
    const may = mayHaveNumber(key, asked, { seeds: build.trusted, mayJump: judged.mayJump });
    const said = { appId: app.id, appVersion: build.appVersion ?? app.version ?? null, appBuildNumber: given || null };
    const stored = await giveNumber(env, build, said, nextNumberNow(key, asked), may, (db, applied) =>
      build.trusted ? [moveCounter(db, key, asked, applied, now)] : [],
    );
    if (stored) return answerOf(stored);
  }
  return refusal('unavailable', `others change the counter of ${app.id} at the same time; ask again`);
}

/** Whether the build may have the number that is next now. */
async function judge(
  env: Env,
  build: BuildRow,
  key: AppKey,
  asked: Asked,
  now: number,
): Promise<{ ok: true; mayJump: boolean } | Refusal> {
  const { projectId, platform, appId } = key;
  const app: NamedApp = { project: build.project || projectId, platform, appId };
  const { value, apps } = await readCounter(env, key);
  const number = nextNumber(value, asked);
  if (number === null) return notSeeded(app);
  if (number > buildNumberMax(platform)) return aboveMaximum(app, number);
  if (value === null && build.trusted && apps >= APPS_OF_PROJECT_MAX) return tooManyApps('forbidden', appId);
  if (!isJump(platform, value, number)) return { ok: true, mayJump: false };
  const { pool, trusted } = build;
  const why = await whyNoMore(env, build, 'numbers', { projectId, pool, trusted }, now);
  if (why === null) return { ok: true, mayJump: true };
  return jumpRefused(app, value, number, why === HAS_LOST_RIGHT ? 'does not have it' : why);
}

const answerOf = ({ appId, buildNumber }: BuildRow): Answered => ({
  ok: true,
  answer: { appId: appId!, buildNumber: buildNumber! },
});

/** Otherwise the number of one app would come from the counter of another. */
const anotherApp = ({ appId }: BuildRow, found: string): Refusal =>
  refusal(
    'forbidden',
    `the build was requested for the app ${appId}, and its source makes ${found}. ` +
      'Correct `app.id` in the request, or the bundle id or package in the project, and submit the build anew',
  );
