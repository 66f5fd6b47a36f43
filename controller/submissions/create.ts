/**
 * Makes a submission: for a build that has succeeded, by a request or because the build asked for it.
 *
 * Invariant: the one statement that adds the row checks all conditions for it. Of all requests
 * with one name, for a build and within the lineage of a key, one makes a submission, and the others get it.
 *
 * Owns the insertion of rows of `submissions`, and what `build_submits` says of a failure.
 */
import { and, eq, type SQL, sql } from 'drizzle-orm';
import {
  type Artifact,
  STORE_OF_PLATFORM,
  STORE_WORDS_MAX,
  SUBMISSIONS_OF_BUILD_MAX,
  type SubmissionReason,
  type SubmitOptions,
} from '#contract';
import type { Thing } from '../access/rights.ts';
import { type BuildRow, findBuild } from '../builds/rows.ts';
import { insertIf, openDatabase } from '../database.ts';
import { NO_ARTIFACTS, namesOf } from '../files/artifact-words.ts';
import { listArtifacts } from '../files/artifacts.ts';
import { newId } from '../ids.ts';
import { type Admission, admissionsOfArtifact, allOf, whyNotAdmitted } from '../projects/admission.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { buildSubmits, builds, submissions } from '../schema/index.ts';
import { canonical } from '../secrets/request-mac.ts';
import { findStoreKeyFor, whyOtherKey } from '../stores/store-keys.ts';
import type { StoreRefusal } from '../stores/store-refusal.ts';
import { eventIf } from './changes.ts';
import type { SubmissionRow } from './submitted.ts';
import { endsByOf } from './upload-state.ts';

/** The key that asks, the first key of its lineage, and a test of which builds it may read. */
export interface Asker {
  id: string;
  rootId: string;
  mayRead?: (thing: Thing) => boolean;
}

/** A name that no request can have, for the submission that a build itself asks for. */
export const AFTER_SUCCESS = '';

/** A refusal. If the build itself has asked for the submission, its view shows `reason`. */
type NotCreated = Refusal & { reason?: SubmissionReason };
export type Created = { ok: true; submission: SubmissionRow; made: boolean } | NotCreated;

/**
 * Refused: `illegal_transition` for a build that has not succeeded, `forbidden` for one that is not trusted,
 * `store_refused` for an artifact or a store key that does not fit, `submission_exists`,
 * `idempotency_mismatch`, `too_many`, `project_deleted`.
 */
export async function createSubmission(
  env: Env,
  build: BuildRow,
  options: SubmitOptions,
  asker: Asker,
  name: string | null,
  now: number,
  id = newId('sub', now),
): Promise<Created> {
  const earlier = name === null ? undefined : await findNamed(env, build.id, asker, name);
  if (earlier) return answerNamed(earlier, options);
  if (build.status !== 'succeeded')
    return refusal('illegal_transition', `only a build that has succeeded is submitted; this one is ${build.status}`);
  const refused = refuseStore(build, options);
  if (refused) return refused;
  const found = suitable(await listArtifacts(env, build.id), build.attempt, options);
  if (!found.ok) return found;
  const { artifact, app } = found;
  const use = { projectId: build.projectId, pool: build.pool, store: options.store, appId: app.id };
  const key = await findStoreKeyFor(env, { ...use, name: options.storeKey });
  if (!key.ok) return key;
  const otherKey = whyOtherKey(options, key.row);
  if (otherKey !== null) return unfit('key_not_for_app', otherKey);
  const row: typeof submissions.$inferInsert = {
    ...{ id, projectId: build.projectId, buildId: build.id, store: options.store, state: 'waiting', transitionId: id },
    ...{ attempt: artifact.attempt, artifact: artifact.name, sha256: artifact.sha256, size: artifact.size },
    blob: artifact.sha256,
    ...{ appId: app.id, version: app.version, buildNumber: app.buildNumber },
    train: trainOf(options.store, app.version),
    options,
    ...{ storeKeyId: key.row.id, storeKeyVersion: key.row.version },
    ...{ createdByKey: asker.id, createdByRoot: asker.rootId, requestName: name },
    ...{ createdAt: now, updatedAt: now, endsBy: endsByOf(now) },
  };
  const admissions = admissionsOf(row, build);
  const db = openDatabase(env);
  const isMine = sql`EXISTS (SELECT 1 FROM submissions WHERE id = ${id} AND transition_id = ${id})`;
  const begins = `${artifact.name} is to be submitted: ${app.id} ${app.version} (${app.buildNumber}).`;
  const noName =
    name === null ? sql`TRUE` : sql`NOT EXISTS (SELECT 1 FROM submissions WHERE ${named(build.id, asker, name)})`;
  const hasNoEntry = sql`${isMine} AND NOT EXISTS (SELECT 1 FROM submission_events WHERE submission_id = ${id})`;
  const [, , [made]] = await db.batch([
    insertIf(db, submissions, row, sql`${allOf(admissions)} AND ${noName}`),
    eventIf(db, id, { at: now, state: 'waiting', says: begins, isEnd: false }, hasNoEntry),
    db.select().from(submissions).where(eq(submissions.id, id)),
  ]);
  if (made) return { ok: true, submission: made, made: true };
  const again = name === null ? undefined : await findNamed(env, build.id, asker, name);
  if (again) return answerNamed(again, options);
  const why = await whyNotAdmitted(env, admissions);
  if (why?.code === 'submission_exists') return (await whyTaken(env, row, asker)) ?? why;
  return why ?? refusal('unavailable', 'the build or its store key changed during the request; send it again');
}

/** The platform of the build must fit the store, and the build must be trusted. */
function refuseStore(
  { platform, trusted }: Pick<BuildRow, 'platform' | 'trusted'>,
  { store }: Pick<SubmitOptions, 'store'>,
): NotCreated | null {
  if (!trusted) return refusal('forbidden', 'a build that is not trusted is never submitted to a store');
  const its = STORE_OF_PLATFORM[platform];
  return store === its
    ? null
    : refusal('invalid_request', `store: a build for ${platform} goes to ${its}, not to ${store}`);
}

const named = (buildId: string, { rootId }: Asker, name: string): SQL =>
  and(...[eq(submissions.buildId, buildId), eq(submissions.createdByRoot, rootId)], eq(submissions.requestName, name))!;

const findNamed = (env: Env, buildId: string, asker: Asker, name: string): Promise<SubmissionRow | undefined> =>
  openDatabase(env)
    .select()
    .from(submissions)
    .where(named(buildId, asker, name))
    .get();

const answerNamed = (submission: SubmissionRow, options: SubmitOptions): Created =>
  canonical(submission.options) === canonical(options)
    ? { ok: true, submission, made: false }
    : refusal(
        'idempotency_mismatch',
        'idempotencyKey: an earlier request used it with other options; choose a new one',
      );

// ── The artifact ───────────────────────────────────────────────────────────────────────────────────────────

interface SuitableApp {
  id: string;
  version: string;
  buildNumber: string;
}

/** The files that each store takes, and their signing. */
const TAKES = {
  'app-store-connect': { kinds: ['ipa'], signing: 'app-store', words: 'an .ipa that is signed for the App Store' },
  'google-play': {
    kinds: ['aab', 'apk'],
    signing: 'release',
    words: 'an .aab or .apk that is signed with a release key',
  },
} as const;

/** The artifact that the store takes: the one that is named, or the only one. Pure. */
export function suitable(
  all: readonly Artifact[],
  attempt: number,
  { store, artifact: asked }: Pick<SubmitOptions, 'store' | 'artifact'>,
): { ok: true; artifact: Artifact; app: SuitableApp } | NotCreated {
  const { kinds, signing, words } = TAKES[store];
  const ofAttempt = all.filter((one) => one.attempt === attempt);
  if (asked !== undefined) {
    const artifact = ofAttempt.find(({ name }) => name === asked);
    if (!artifact)
      return ofAttempt.length === 0
        ? noArtifacts
        : unfit('artifact_unsuitable', `artifact: the build has no ${asked}; it has ${namesOf(ofAttempt)}`);
    return suitableApp(artifact, store);
  }
  const ofKind = ofAttempt.filter(({ app }) => app && (kinds as readonly string[]).includes(app.kind));
  const signed = ofKind.filter(({ app }) => app?.signing === signing);
  const fit = signed.length > 0 ? signed : ofKind;
  // If a build has a bundle and an APK, Play gets the bundle.
  const bundles = fit.filter(({ app }) => app?.kind === kinds[0]);
  const best = bundles.length > 0 ? bundles : fit;
  const [first, second] = best;
  if (ofAttempt.length === 0) return noArtifacts;
  if (!first)
    return unfit(
      'artifact_unsuitable',
      `none of the artifacts is known to be an app that ${store} takes: ${words}. An agent that is older than this release reads none`,
    );
  if (second)
    return unfit('artifact_unsuitable', `artifact: ${namesOf(best)} are several of one kind; name the one to submit`);
  return suitableApp(first, store);
}

function suitableApp(
  artifact: Artifact,
  store: SubmitOptions['store'],
): { ok: true; artifact: Artifact; app: SuitableApp } | NotCreated {
  const { kinds, signing, words } = TAKES[store];
  const { app, name } = artifact;
  if (!app) return unfit('artifact_unsuitable', `artifact: nothing is known of ${name}, and ${store} takes ${words}`);
  if (!(kinds as readonly string[]).includes(app.kind))
    return unfit('artifact_unsuitable', `artifact: ${name} is an .${app.kind}, and ${store} takes ${words}`);
  if (app.signing !== signing)
    return unfit(
      'artifact_unsuitable',
      `artifact: ${name} is signed for ${app.signing ?? 'something unknown'}, and ${store} takes ${words}`,
    );
  const { id, version, buildNumber } = app;
  if (id === null || version === null || buildNumber === null)
    return unfit('artifact_unsuitable', `artifact: of ${name} the id, the version or the build number is not known`);
  return { ok: true, artifact, app: { id, version, buildNumber } };
}

const noArtifacts: NotCreated = {
  ...refusal('store_refused', NO_ARTIFACTS),
  reason: 'artifact_gone',
};

const unfit = (reason: SubmissionReason, message: string): StoreRefusal => ({
  ...refusal('store_refused', message),
  reason,
});

// ── The conditions of the insertion ────────────────────────────────────────────────────────────────────────

type NewRow = typeof submissions.$inferInsert;

function admissionsOf(row: NewRow, build: BuildRow): Admission[] {
  const { buildId, storeKeyId, storeKeyVersion } = row;
  const gone = unfit('artifact_gone', `artifact: ${row.artifact} is not kept any more`);
  return [
    ...admissionsOfArtifact(row, build.project, gone),
    {
      holds: sql`EXISTS (SELECT 1 FROM store_keys WHERE id = ${storeKeyId} AND version = ${storeKeyVersion})`,
      otherwise: unfit('key_gone', 'the store key was changed during the request; send it again'),
    },
    {
      holds: sql`(SELECT count(*) FROM submissions WHERE build_id = ${buildId}) < ${SUBMISSIONS_OF_BUILD_MAX}`,
      otherwise: refusal('too_many', `a build has at most ${SUBMISSIONS_OF_BUILD_MAX} submissions; build anew`),
    },
    {
      holds: sql`NOT EXISTS (SELECT 1 FROM submissions WHERE ${sameNumber(row)})`,
      otherwise: { ...refusal('submission_exists', existsWords(row, null)), reason: 'build_number_used' } as Refusal,
    },
  ];
}

/** A store takes a build number once per train: per version for App Store Connect, per app for Play. */
export const trainOf = (store: SubmitOptions['store'], version: string): string =>
  store === 'app-store-connect' ? version : '';

/**
 * Condition for a submission of this number, in any project, that was neither cancelled nor failed. The
 * unique index has the same condition.
 */
export const sameNumber = ({
  store,
  appId,
  train,
  buildNumber,
}: Pick<NewRow, 'store' | 'appId' | 'train' | 'buildNumber'>): SQL => sql`
  submissions.store = ${store} AND submissions.app_id = ${appId} AND submissions.train = ${train}
  AND submissions.build_number = ${buildNumber} AND submissions.state NOT IN ('failed', 'cancelled')`;

const existsWords = ({ appId, version, buildNumber }: NewRow, other: string | null): string =>
  `${appId} ${version} (${buildNumber}) is ${other === null ? 'submitted already' : `in submission ${other} already`}. ` +
  'A store takes each number once: raise the build number and build anew';

/** Names the other submission if the key that asks may see it. */
async function whyTaken(env: Env, row: NewRow, { mayRead }: Asker): Promise<NotCreated | null> {
  const other = await openDatabase(env)
    .select({ id: submissions.id, of: { projectId: builds.projectId, pool: builds.pool, trusted: builds.trusted } })
    .from(submissions)
    .innerJoin(builds, eq(builds.id, submissions.buildId))
    .where(sameNumber(row))
    .limit(1)
    .get();
  if (!other) return null;
  const words = existsWords(row, mayRead?.(other.of) ? other.id : null);
  return { ...refusal('submission_exists', words), reason: 'build_number_used' };
}

// ── After the success of a build ───────────────────────────────────────────────────────────────────────────

/** The submission that a build asks for has an id that follows from the build, so that it is made once. */
export const idAfterSuccess = (buildId: string): string => `sub_${buildId.replace(/^b_/, '')}`;

/**
 * Makes the submission that the build has asked for, unless an earlier call has stored a refusal. A refusal
 * is stored, because nobody waits for the answer. False if the caller must try again.
 */
export async function createAfterSuccess(env: Env, buildId: string, now: number): Promise<boolean> {
  const db = openDatabase(env);
  const asked = await db.select().from(buildSubmits).where(eq(buildSubmits.buildId, buildId)).get();
  if (!asked || asked.reason !== null) return true;
  const build = await findBuild(env, buildId);
  if (build?.status !== 'succeeded') return true;
  const asker = { id: build.createdByKey ?? '', rootId: build.createdByRoot ?? build.createdByKey ?? '' };
  const created = await createSubmission(env, build, asked.options, asker, AFTER_SUCCESS, now, idAfterSuccess(buildId));
  if (created.ok) return true;
  if (created.code === 'unavailable' || created.code === 'inputs_key_missing') return false;
  const reason = created.reason ?? REASON_OF[created.code] ?? 'internal';
  await db
    .update(buildSubmits)
    .set({ reason, storeWords: created.message.slice(0, STORE_WORDS_MAX) })
    .where(eq(buildSubmits.buildId, buildId));
  return true;
}

const REASON_OF: Partial<Record<Refusal['code'], SubmissionReason>> = {
  unauthorized: 'right_gone',
  forbidden: 'right_gone',
  project_deleted: 'right_gone',
  submission_exists: 'build_number_used',
};
