/**
 * Gives a build its number when an attempt of it asks for one.
 *
 * Invariant: a build gets one number, and all its attempts get the same one. The first answer stores it
 * together with the move of the counter. Two trusted builds that ask for the next number never get the same
 * one. A build that is not trusted gets a number and moves no counter.
 *
 * The first number of an app may come from its store, if the key that requested the build has the right
 * `stores`.
 */
import { eq } from 'drizzle-orm';
import { APPS_OF_PROJECT_MAX, type BuildNumberAnswer, type BuildNumberRequest, buildNumberMax } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { HAS_LOST_RIGHT, whyNoMore } from '../access/still-may.ts';
import type { BuildRow } from '../builds/rows.ts';
import { giveNumber } from '../builds/writes-without-event.ts';
import { openDatabase } from '../database.ts';
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
import { buildSubmits, keys } from '../schema/index.ts';
import type { StoreAddresses } from '../stores/step.ts';
import { seedFromStore } from '../submissions/before-build.ts';
import { writerOf } from './writers.ts';

/** A request is judged anew if another one has changed the counter between the judgement and the batch. */
const RACES_MAX = 4;

type Answered = { ok: true; answer: BuildNumberAnswer } | Refusal;

/**
 * Refused: `number_not_seeded`, `forbidden` for a number that the build may not have, and as writers.ts
 * refuses an attempt that does not run.
 */
export async function numberOfAttempt(
  env: Env,
  caller: AttemptCaller,
  buildId: string,
  { app, increment }: BuildNumberRequest,
  stores: StoreAddresses,
  now: number,
): Promise<Answered> {
  let askedStore = false;
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
    if (!judged.ok) {
      // On this refusal the agent keeps the number of the project if the build did not ask for the next one.
      if (judged.code !== 'number_not_seeded' || !increment || askedStore) return judged;
      askedStore = true;
      const seeded = await seedOfBuild(env, build, key, stores, now);
      if (!seeded.ok) return seeded;
      if (!seeded.asked) return judged;
      continue;
    }
    const may = mayHaveNumber(key, asked, { seeds: build.trusted, mayJump: judged.mayJump });
    const said = { appId: app.id, appVersion: build.appVersion ?? app.version ?? null, appBuildNumber: given || null };
    const stored = await giveNumber(env, build, said, nextNumberNow(key, asked), may, (db, applied) =>
      build.trusted ? [moveCounter(db, key, asked, applied, now)] : [],
    );
    if (stored) return answerOf(stored);
  }
  return refusal('unavailable', `others change the counter of ${app.id} at the same time; ask again`);
}

/** Asks the store for the first number, with the rights that the key of the build has now. */
async function seedOfBuild(env: Env, build: BuildRow, app: AppKey, stores: StoreAddresses, now: number) {
  const { id, pool, trusted, projectId, createdByKey } = build;
  const thing = { projectId, pool, trusted };
  if (!trusted || createdByKey === null || (await whyNoMore(env, build, 'stores', thing, now)) !== null)
    return { ok: true, asked: false } as const;
  const [submit, key] = await openDatabase(env).batch([
    openDatabase(env).select().from(buildSubmits).where(eq(buildSubmits.buildId, id)),
    openDatabase(env).select({ name: keys.name }).from(keys).where(eq(keys.id, createdByKey)),
  ]);
  const by = { id: createdByKey, name: key[0]?.name ?? createdByKey };
  return seedFromStore(env, { app, pool, options: submit[0]?.options ?? null, by }, stores, now);
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
