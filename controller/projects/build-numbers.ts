/**
 * Counts the build numbers of each app of a project. An app is its id on one platform, so the app of both
 * platforms has two counters.
 *
 * Invariant: a build only raises a counter. Only a PUT may lower it.
 *
 * Owns the table `build_numbers`. attempts/number-of-attempt.ts gives a build its number, and takes the
 * statement that moves the counter into that batch.
 */
import { and, asc, eq, type SQL, sql } from 'drizzle-orm';
import {
  APPS_OF_PROJECT_MAX,
  BUILD_NUMBER_STEP_MAX,
  buildNumberMax,
  type CounterSet,
  type CounterView,
} from '#contract';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { buildNumbers, keys } from '../schema/index.ts';
import { iso } from '../times.ts';
import { isLiveProject, isNotRevoked } from './conditions.ts';

export type AppKey = Pick<typeof buildNumbers.$inferSelect, 'projectId' | 'platform' | 'appId'>;

/** The number that a build asks for. */
export interface Asked {
  /** The number that the project itself has. 0 if it has none. */
  given: number;
  /** Whether it wants one more than the counter has. */
  increment: boolean;
}

/** The counter of an app, and how many the project has. */
interface Counter {
  /** Null if the app has no counter yet. */
  value: number | null;
  /** How many counters the project has. */
  apps: number;
}

const here = ({ projectId, platform, appId }: AppKey): SQL =>
  and(eq(buildNumbers.projectId, projectId), eq(buildNumbers.platform, platform), eq(buildNumbers.appId, appId))!;

const counterOf = (app: AppKey): SQL => sql`(SELECT value FROM build_numbers WHERE ${here(app)})`;

const appsOf = (projectId: string): SQL =>
  sql`(SELECT count(*) FROM build_numbers WHERE ${eq(buildNumbers.projectId, projectId)})`;

/** The condition that the app has a counter. */
export const isSeeded = (app: AppKey): SQL => sql`EXISTS (SELECT 1 FROM build_numbers WHERE ${here(app)})`;

/**
 * Whether the number that the project itself has can be the first one of a counter. Every new project has 1,
 * which tells nothing about the number in the store. Pure.
 */
export const canBeFirst = (given: number): boolean => given > 1;

/** The number of the next build. Null without a counter if the app's own number cannot be the first. Pure. */
export function nextNumber(counter: number | null, { given, increment }: Asked): number | null {
  if (counter === null) return canBeFirst(given) ? given : null;
  return Math.max(counter + (increment ? 1 : 0), given);
}

/** {@link nextNumber} in SQL, for the statement that stores it: other builds may have moved the counter. */
export const nextNumberNow = (app: AppKey, { given, increment }: Asked): SQL<number> =>
  sql`max(coalesce(${counterOf(app)} + ${increment ? 1 : 0}, 0), ${given})`;

/** Whether the step needs the right `numbers`: it is a large one, or no number is left after it. Pure. */
export const isJump = (platform: AppKey['platform'], counter: number | null, number: number): boolean =>
  number - (counter ?? 0) > BUILD_NUMBER_STEP_MAX || (platform === 'android' && number === buildNumberMax(platform));

/**
 * The conditions under which a build may have the number {@link nextNumberNow}. They hold the same rules as
 * {@link nextNumber} and {@link isJump}, because another request may have come first.
 *
 * @param seeds whether the build makes the counter if there is none
 * @param mayJump whether the key of the build has the right `numbers`
 */
export function mayHaveNumber(app: AppKey, asked: Asked, { seeds, mayJump }: { seeds: boolean; mayJump: boolean }) {
  const [number, max] = [nextNumberNow(app, asked), buildNumberMax(app.platform)];
  const isRoom = seeds ? sql`${appsOf(app.projectId)} < ${APPS_OF_PROJECT_MAX}` : sql`TRUE`;
  return and(
    isLiveProject(app.projectId),
    canBeFirst(asked.given) ? sql`(${isSeeded(app)} OR ${isRoom})` : isSeeded(app),
    sql`${number} <= ${app.platform === 'android' && !mayJump ? max - 1 : max}`,
    mayJump ? undefined : sql`${number} - coalesce(${counterOf(app)}, 0) <= ${BUILD_NUMBER_STEP_MAX}`,
  )!;
}

/** The statement that moves the counter to the number of a build, or makes it, in the batch of its owner. */
export const moveCounter = (db: Database, app: AppKey, asked: Asked, applied: SQL, now: number) =>
  insertIf(
    db,
    buildNumbers,
    { ...app, value: nextNumberNow(app, asked), seededBy: null, updatedAt: now },
    applied,
  ).onConflictDoUpdate({
    target: [buildNumbers.projectId, buildNumbers.platform, buildNumbers.appId],
    set: { value: sql`excluded.value`, updatedAt: now },
    setWhere: sql`excluded.value > ${buildNumbers.value}`,
  });

export async function readCounter(env: Env, app: AppKey): Promise<Counter> {
  return openDatabase(env).get<Counter>(sql`SELECT ${counterOf(app)} AS value, ${appsOf(app.projectId)} AS apps`);
}

/**
 * Sets a counter, up or down, or makes it. Refused: `invalid_request` above the platform's maximum;
 * `too_large` if the project has too many; `project_deleted`.
 *
 * @param by the id of the key that sets it
 */
export async function setCounter(
  env: Env,
  app: AppKey,
  value: number,
  by: string,
  now: number,
): Promise<{ ok: true; counter: CounterSet } | Refusal> {
  const max = buildNumberMax(app.platform);
  if (value > max)
    return refusal('invalid_request', `value: must be at most ${max}, the highest build number of ${app.platform}`);
  const db = openDatabase(env);
  const row = { ...app, value, seededBy: by, updatedAt: now };
  const [before, written] = await db.batch([
    db.select({ value: buildNumbers.value }).from(buildNumbers).where(here(app)),
    insertIf(
      db,
      buildNumbers,
      row,
      sql`${isLiveProject(app.projectId)} AND ${isNotRevoked(by)}
        AND (${isSeeded(app)} OR ${appsOf(app.projectId)} < ${APPS_OF_PROJECT_MAX})`,
    )
      .onConflictDoUpdate({
        target: [buildNumbers.projectId, buildNumbers.platform, buildNumbers.appId],
        set: { value, seededBy: by, updatedAt: now },
      })
      .returning({ value: buildNumbers.value }),
  ]);
  const was = before[0]?.value ?? null;
  if (written.length > 0) {
    const [counter] = await listCounters(env, app.projectId, app);
    if (counter) return { ok: true, counter: { ...counter, was } };
  }
  const { apps } = await readCounter(env, app);
  if (apps >= APPS_OF_PROJECT_MAX && was === null) return tooManyApps('too_large', app.appId);
  return refusal('project_deleted', 'the project was deleted, or the key revoked, during the request');
}

/** Makes the counter of an app that has none. False if it has one by now, or may have none. */
export async function seedCounter(env: Env, app: AppKey, value: number, by: string, now: number): Promise<boolean> {
  const { meta } = await insertIf(
    openDatabase(env),
    buildNumbers,
    { ...app, value, seededBy: by, updatedAt: now },
    sql`${isLiveProject(app.projectId)} AND ${isNotRevoked(by)} AND NOT ${isSeeded(app)}
      AND ${appsOf(app.projectId)} < ${APPS_OF_PROJECT_MAX}`,
  ).onConflictDoNothing();
  return meta.changes > 0;
}

/** The refusal of an app beyond the most that a project may have. */
export const tooManyApps = (code: 'too_large' | 'forbidden', appId: string): Refusal =>
  refusal(
    code,
    `${appId} gets no counter of build numbers, because the project has counters of ${APPS_OF_PROJECT_MAX} apps, ` +
      'and may have no more. Build the app in another project',
  );

/** The counters of a project, or that of one app, by platform and id. */
export async function listCounters(env: Env, projectId: string, app?: AppKey): Promise<CounterView[]> {
  const rows = await openDatabase(env)
    .select({ counter: buildNumbers, keyName: keys.name })
    .from(buildNumbers)
    .leftJoin(keys, eq(keys.id, buildNumbers.seededBy))
    .where(app ? here(app) : eq(buildNumbers.projectId, projectId))
    .orderBy(asc(buildNumbers.platform), asc(buildNumbers.appId))
    .limit(APPS_OF_PROJECT_MAX);
  return rows.map(({ counter: { platform, appId, value, seededBy, updatedAt }, keyName }) => ({
    ...{ platform, appId, value },
    setBy: seededBy === null ? null : { keyId: seededBy, name: keyName },
    updatedAt: iso(updatedAt),
  }));
}

/**
 * The statement that removes the counters of a project, in the batch of another owner, if `condition` holds.
 */
export const withoutCounters = (db: Database, projectId: string, condition: SQL) =>
  db.delete(buildNumbers).where(and(eq(buildNumbers.projectId, projectId), condition));

// ── Messages for people ────────────────────────────────────────────────────────────────────────────────────

/** An app in a message, which gives the project by its name. */
export interface NamedApp extends Pick<AppKey, 'platform' | 'appId'> {
  project: string;
}

const putOf = ({ project, platform, appId }: NamedApp): string =>
  `\`PUT /api/projects/${project}/numbers/${platform}/${appId}\` with {"value": NUMBER} and a key that has the ` +
  'right `numbers`';

export const notSeeded = (app: NamedApp): Refusal =>
  refusal(
    'number_not_seeded',
    `project ${app.project} has no build number of ${app.appId} for ${app.platform} yet, and the app itself gives none ` +
      `above 1. Look up the build number that the app has in its store, or take 1 if it is in none, and set it: ` +
      `${putOf(app)}. The next build then gets one more`,
  );

/** The refusal of a number that the store does not take. */
export const aboveMaximum = (app: NamedApp, number: number): Refusal =>
  refusal(
    'forbidden',
    `${app.appId} would get the build number ${number}, and ${buildNumberMax(app.platform)} is the highest of ` +
      `${app.platform}. Give the project a lower number, or lower the counter: ${putOf(app)}`,
  );

/** @param why why the key of the build may not, as the end of "the key that requested the build …" */
export function jumpRefused(app: NamedApp, counter: number | null, number: number, why: string): Refusal {
  const from = counter === null ? 'its first one' : `after ${counter}`;
  const rule =
    number - (counter ?? 0) > BUILD_NUMBER_STEP_MAX
      ? `A step of more than ${BUILD_NUMBER_STEP_MAX}`
      : 'The highest number of android, after which no other can follow,';
  return refusal(
    'forbidden',
    `${app.appId} would get the build number ${number}, ${from}. ${rule} needs the right \`numbers\`, and the key that ` +
      `requested the build ${why}. Correct the number in the project, or set the counter near to it: ${putOf(app)}`,
  );
}
