/**
 * Adds a new build with its first event, inputs and origin, all in one batch or nothing.
 *
 * Invariant: of all requests with the same name, within the lineage of a key and a project, one makes a
 * build. The others get that build, or are refused if they ask for something else.
 *
 * Owns `build_inputs`, `build_origins` and `idempotency`, and the insertion of rows of `builds` and
 * `build_submits`. Adds the first row of a build to `events`. upkeep/retention.ts alone removes such rows.
 */
import { and, eq, type SQL, sql } from 'drizzle-orm';
import type { Inputs, OriginDetail } from '#contract';
import type { AuthenticatedKey } from '../access/keys.ts';
import { may } from '../access/rights.ts';
import { type Database, insertIf, isForeignKeyError, openDatabase } from '../database.ts';
import { holdIf, isHeldBy, sourceNotStored } from '../files/holds.ts';
import { type Admission, admissionsOf, allOf, whyNotAdmitted } from '../projects/admission.ts';
import { DEFAULT_PROJECT_ID, type ProjectRow } from '../projects/find-project.ts';
import { refusal } from '../refusals.ts';
import { buildInputs, buildOrigins, buildSubmits, builds, events, idempotency } from '../schema/index.ts';
import { sealInputs } from '../secrets/inputs.ts';
import { INPUTS_MOVED } from '../secrets/read-inputs.ts';
import { compareWithMac, macOfRequest } from '../secrets/request-mac.ts';
import { type Applied, hasApplied } from './apply.ts';
import { BUILD_COLUMNS, type BuildRow, findBuild } from './rows.ts';
import { supersedingOf } from './superseding.ts';

/** The key that makes a build, with the first key of its lineage, and its rights. */
export type Submitter = Pick<AuthenticatedKey, 'id' | 'rootId' | 'scope' | 'rights'>;

/** The name that a request gave itself, so that it can be repeated. */
export interface RequestName {
  submitter: Submitter;
  /** A name stands for one build in each project. */
  project: ProjectRow;
  name: string;
  /** All that the request asks for. It distinguishes a repetition from another request. */
  request: object;
  /** The SHA-256 by which the former release knows the request. Null for a request that it does not know. */
  earlierHash: string | null;
}

/** The columns that {@link insertBuild} sets itself. */
type Own = 'status' | 'transitionId' | 'hasInputs' | 'inputs' | 'idempotencyKey' | 'requestHash';
type NewBuild = Omit<typeof builds.$inferInsert, Own> & { projectId: string };

/** The optional parts of a new build beside its row. */
export interface Beside {
  /** The part of the origin that no filter asks for. A retry without one copies that of the retried build. */
  origin?: OriginDetail | undefined;
  /** True for an untrusted key, which may name only a source that its own lineage has sent. */
  ownSourceAlone?: boolean | undefined;
  /** The rights of the key that supersedes older builds of the group. */
  superseding?: Submitter['rights'] | undefined;
  /** The options of its submission, the warnings of the store, and the reason if nothing is submitted. */
  submit?: Omit<typeof buildSubmits.$inferInsert, 'buildId'> | null | undefined;
}

/**
 * Adds a queued build. Refused: `blob_not_stored` if neither the project nor the lineage of the key has
 * stored the source, `project_deleted`, `too_many` untrusted builds, `number_not_seeded`,
 * `idempotency_mismatch`.
 *
 * @param inputs null if the build is given none
 * @param name null if the request has none; it then makes a build each time
 */
export async function insertBuild(
  env: Env,
  build: NewBuild,
  inputs: Inputs | null,
  name: RequestName | null,
  { origin, ownSourceAlone = false, superseding, submit }: Beside = {},
): Promise<Applied> {
  const db = openDatabase(env);
  const { id, createdAt, projectId, sourceSha256, trusted = true } = build;
  const admissions = [
    ...admissionsOf({ ...build, project: build.project ?? projectId, trusted, keyId: build.createdByKey ?? '' }),
    sourceIsHeld(build, ownSourceAlone),
  ];
  const isAdmitted = allOf(admissions);
  const sealed = inputs && { buildId: id, ...(await sealInputs(env, id, inputs)) };
  const row = {
    ...build,
    status: 'queued' as const,
    transitionId: id,
    hasInputs: inputs !== null,
    inputs: inputs && INPUTS_MOVED,
    idempotencyKey: name && nameForFormerRelease(name),
  };
  const applied = hasApplied(id, id);
  const detail = build.retryOf ? { retryOf: build.retryOf } : {};
  const submitted = { buildId: id, attempt: 0, type: 'submitted', at: createdAt, detail };
  const rest = [
    insertIf(db, events, submitted, applied),
    ...(sealed ? [insertIf(db, buildInputs, sealed, applied)] : []),
    ...(build.retryOf || ownSourceAlone ? [] : [holdIf(db, projectId, sourceSha256, createdAt, applied)]),
    ...(origin ? [insertIf(db, buildOrigins, { buildId: id, origin }, applied)] : []),
    ...(!origin && build.retryOf ? [originCopy(db, id, build.retryOf, applied)] : []),
    ...(submit ? [insertIf(db, buildSubmits, { buildId: id, ...submit }, applied)] : []),
    ...(superseding ? [supersedingOf(db, { id, createdAt }, superseding, applied)] : []),
  ];
  try {
    if (name) {
      const noted = { ...keyOf(name), requestMac: await macOfRequest(env, name.request), target: id, createdAt };
      const isMine = sql`EXISTS (SELECT 1 FROM idempotency WHERE ${and(here(name), eq(idempotency.target, id))})`;
      await db.batch([
        insertIf(db, idempotency, noted, sql`NOT ${isTaken(name)} AND ${isAdmitted}`),
        insertIf(db, builds, row, isMine),
        ...rest,
      ]);
    } else await db.batch([insertIf(db, builds, row, isAdmitted), ...rest]);
  } catch (error) {
    if (!isForeignKeyError(error)) throw error;
    return sourceNotStored(sourceSha256);
  }
  const stored = await findBuild(env, id);
  if (stored) return { ok: true, build: stored, changed: true };
  const answered = (name && (await findNamed(env, name))) ?? (await whyNotAdmitted(env, admissions));
  if (answered) return answered;
  return refusal('unavailable', 'the limits of the project changed during the request; send it again');
}

/** A retry builds the same source, so it has the same origin. */
const originCopy = (db: Database, id: string, retryOf: string, applied: SQL) =>
  db
    .insert(buildOrigins)
    .select(sql`SELECT ${id}, origin FROM build_origins WHERE build_id = ${retryOf} AND ${applied}`);

/**
 * Whether the build may have this source: its project or the lineage of the key has sent the bytes. A retry
 * has the source of a build of the same project, for which this was proven.
 */
const sourceIsHeld = (
  { retryOf, projectId, createdByRoot, sourceSha256 }: NewBuild,
  ownSourceAlone: boolean,
): Admission => ({
  holds: retryOf
    ? sql`EXISTS (SELECT 1 FROM builds AS original WHERE original.id = ${retryOf}
        AND original.source_sha256 = ${sourceSha256} AND original.project_id IN (${projectId}, ''))`
    : isHeldBy([...(ownSourceAlone ? [] : [projectId]), ...(createdByRoot ? [createdByRoot] : [])], sourceSha256),
  otherwise: sourceNotStored(sourceSha256),
});

/**
 * The build that an earlier request of this name made. Null if there was none. Refused:
 * `idempotency_mismatch` if that request asked for something else, or made a build that the key may not read
 * now.
 */
export async function findNamed(env: Env, name: RequestName): Promise<Applied | null> {
  const db = openDatabase(env);
  const noted = await db
    .select({ build: BUILD_COLUMNS, requestMac: idempotency.requestMac })
    .from(idempotency)
    .leftJoin(builds, eq(builds.id, idempotency.target))
    .where(here(name))
    .get();
  if (!noted) {
    const build = await db.select(BUILD_COLUMNS).from(builds).where(ofFormerRelease(name)).get();
    return build
      ? answer(name, build, build.requestHash !== null && build.requestHash === name.earlierHash ? 'same' : 'other')
      : null;
  }
  const { build, requestMac } = noted;
  return build
    ? answer(name, build, await compareWithMac(env, name.request, requestMac))
    : refusal('idempotency_mismatch', 'idempotencyKey: the build that used it was removed; choose a new one');
}

function answer({ submitter, project }: RequestName, build: BuildRow, request: 'same' | 'other' | 'unknown'): Applied {
  const { pool, trusted } = build;
  const isReadable = may(submitter, 'builds.read', { projectId: project.id, pool, trusted });
  return isReadable && request === 'same'
    ? { ok: true, build, changed: false }
    : refusal('idempotency_mismatch', MISMATCH[isReadable && request === 'unknown' ? 'unknown' : 'other']);
}

const MISMATCH = {
  other: 'idempotencyKey: an earlier request used it for another build; choose a new one',
  unknown:
    'idempotencyKey: an earlier request used it, and it cannot be compared with this one any more, ' +
    'because its secret was removed from TOKEN_KEYS; choose a new one',
};

const keyOf = ({ submitter, project, name }: RequestName) => ({
  rootId: submitter.rootId,
  projectId: project.id,
  name,
});

const here = ({ submitter, project, name }: RequestName): SQL =>
  and(eq(idempotency.rootId, submitter.rootId), eq(idempotency.projectId, project.id), eq(idempotency.name, name))!;

const isTaken = (name: RequestName): SQL => sql`
  (EXISTS (SELECT 1 FROM idempotency WHERE ${here(name)}) OR EXISTS (SELECT 1 FROM builds WHERE ${ofFormerRelease(name)}))`;

/** A build that the former release made under this name, for a key of the lineage. */
const ofFormerRelease = ({ submitter, project, name }: RequestName): SQL => sql`
  ${builds.idempotencyKey} = ${name} AND ${isOfProject(project)} AND ${builds.createdByKey} IN (
    SELECT id FROM keys WHERE root_id = ${submitter.rootId} UNION SELECT ${submitter.rootId} UNION SELECT ${submitter.id})`;

/** The former release knows projects by name, and leaves the id empty until the sweep finds it. */
const isOfProject = ({ id, name }: ProjectRow): SQL => sql`(${builds.projectId} = ${id} OR (
  ${builds.projectId} = '' AND coalesce(${builds.project}, ${id === DEFAULT_PROJECT_ID ? name : ''}) = ${name}))`;

/**
 * The former release, which still answers for a moment during a deployment, looks for names in `builds`. It
 * cannot compare the request, so it refuses a repetition instead of building twice. It knows a name once for
 * each key, in all projects together, so only the first build gets it.
 */
const nameForFormerRelease = ({ submitter, name }: RequestName): SQL<string | null> => sql`
  CASE WHEN EXISTS (SELECT 1 FROM builds WHERE created_by_key = ${submitter.id} AND idempotency_key = ${name})
    THEN NULL ELSE ${name} END`;
