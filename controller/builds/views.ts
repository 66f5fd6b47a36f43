/** Shows rows of builds as the API answers them. Reads only. */
import { asc, eq, sql } from 'drizzle-orm';
import {
  type AttemptView,
  type Build,
  type BuildDetail,
  type BuildSubmit,
  type Evidence,
  explanationIn,
  type Live,
  type OriginDetail,
  type TimelineEvent,
  type VerdictView,
} from '#contract';
import { type Holder, hasRight } from '../access/rights.ts';
import { openDatabase } from '../database.ts';
import { viewArtifact } from '../files/artifacts.ts';
import { artifacts, attempts, type buildSubmits, builds, events } from '../schema/index.ts';
import { namesOfSecrets } from '../secrets/stored-secrets.ts';
import { explainReason } from '../stores/reasons.ts';
import { iso, isoOrNull } from '../times.ts';
import { byAttempt, evidenceOf } from './evidence.ts';
import { ATTEMPT_COLUMNS, type AttemptRow, BUILD_COLUMNS, type BuildRow, originOf } from './rows.ts';
import { isActive } from './transitions.ts';
import { explainCause, explainVerdict, sayWaiting } from './verdicts.ts';

const EVENTS_SHOWN_MAX = 500;

/** The columns of a build that is shown: its row, and columns that only a view needs. */
export const SHOWN_COLUMNS = {
  ...BUILD_COLUMNS,
  origin: sql<OriginDetail | null>`(SELECT origin FROM build_origins WHERE build_id = builds.id)`.mapWith(
    (json: string): OriginDetail => JSON.parse(json),
  ),
  submit: sql<SubmitShown | null>`(
    SELECT json_object('options', json(options), 'warnings', json(warnings), 'reason', reason, 'storeWords', store_words)
    FROM build_submits WHERE build_id = builds.id)`.mapWith((json: string): SubmitShown => JSON.parse(json)),
  /** The pool of the build that superseded it. */
  newerPool: sql<string | null>`(SELECT pool FROM builds AS newer WHERE newer.id = builds.superseded_by)`,
};
type SubmitShown = Pick<typeof buildSubmits.$inferSelect, 'options' | 'warnings' | 'reason' | 'storeWords'>;
export type ShownRow = BuildRow & {
  origin: OriginDetail | null;
  submit: SubmitShown | null;
  newerPool: string | null;
};

/** The part of the reader's key that decides which fields are shown. */
export type Reader = Holder;

/** A build and its attempt, as the API shows them. Null if it does not exist. */
export async function viewStored(env: Env, buildId: string, reader: Reader): Promise<Build | null> {
  const found = await openDatabase(env)
    .select({ build: SHOWN_COLUMNS, attempt: ATTEMPT_COLUMNS })
    .from(builds)
    .leftJoin(attempts, sql`${attempts.buildId} = ${builds.id} AND ${attempts.attempt} = ${builds.attempt}`)
    .where(eq(builds.id, buildId))
    .get();
  return found ? viewBuild(found.build, found.attempt, reader) : null;
}

/** The newer build is of the same project and trust, so only its pool can be out of the reader's reach. */
const mayKnowNewer = ({ newerPool }: ShownRow, { rights: { pools } }: Reader): boolean =>
  pools === '*' || (newerPool !== null && pools.includes(newerPool));

/** The explanation of a failure from its log, without lines of the log for a key that may not read logs. */
const explainedFor = (reader: Reader, explained: AttemptRow['explained'] | undefined): AttemptRow['explained'] => {
  if (!explained || hasRight(reader, 'builds.files')) return explained ?? null;
  const { tellingLines: _, ...rest } = explained;
  return explanationIn(explained) && { ...rest, line: '' };
};

function evidenceFor(reader: Reader, evidence: Evidence | null): Evidence | null {
  if (!evidence || hasRight(reader, 'builds.files')) return evidence;
  const { logTail: _, ...rest } = evidence;
  return rest;
}

const viewSubmit = ({ options, warnings, reason, storeWords }: SubmitShown): BuildSubmit => ({
  ...{ options, warnings },
  failure: reason && explainReason(reason, storeWords, true),
});

export const viewBuild = (row: ShownRow, attempt: AttemptRow | null, reader: Reader): Build => ({
  id: row.id,
  status: row.status,
  verdict: row.verdict
    ? explainVerdict(row.verdict, row.verdictStep, row.verdictMessage, explainedFor(reader, attempt?.explained))
    : null,
  cause: attempt?.cause && row.verdict ? explainCause(attempt.cause) : null,
  attempt: row.attempt,
  maxAttempts: row.maxAttempts,
  handBacks: row.handBacks,
  workerId: row.status === 'queued' ? null : (attempt?.workerId ?? null),
  platform: row.platform,
  command: row.command,
  profile: row.profile,
  projectRoot: row.projectRoot,
  app: row.appId === null ? null : { id: row.appId, version: row.appVersion },
  buildNumber: row.buildNumber,
  source: { sha256: row.sourceSha256 },
  artifactGlobs: row.artifactGlobs,
  timeouts: row.timeouts,
  pool: row.pool,
  image: row.image,
  project: row.project,
  projectId: row.projectId,
  trusted: row.trusted,
  origin: originOf(row, row.origin),
  group: row.groupName,
  fingerprint: row.fingerprint,
  supersededBy: mayKnowNewer(row, reader) ? row.supersededBy : null,
  labels: row.labels,
  priority: row.priority,
  retryOf: row.retryOf,
  submit: row.submit && viewSubmit(row.submit),
  createdAt: iso(row.createdAt),
  queuedAt: iso(row.queuedAt),
  startedAt: isoOrNull(row.startedAt),
  endedAt: isoOrNull(row.endedAt),
});

/** Adds to the verdict of a build without output which processes waited, from the evidence. */
const withWaiting = (verdict: VerdictView | null, evidence: Evidence | null): VerdictView | null =>
  verdict?.code === 'no_output' && verdict.message === null && evidence
    ? { ...verdict, message: sayWaiting(evidence) }
    : verdict;

const viewAttempt = (
  row: AttemptRow,
  evidence: Evidence | null,
  secretNames: ReadonlyMap<string, string>,
  reader: Reader,
  now: number,
): AttemptView => ({
  attempt: row.attempt,
  workerId: row.workerId,
  verdict: withWaiting(
    row.verdict
      ? explainVerdict(row.verdict, row.verdictStep, row.verdictMessage, explainedFor(reader, row.explained))
      : null,
    evidence,
  ),
  handedBack: row.handedBack,
  cause: row.cause ? explainCause(row.cause) : null,
  exitCode: row.exitCode,
  image: row.image,
  keptUntil: row.keptUntil !== null && row.keptUntil > now ? iso(row.keptUntil) : null,
  claimedAt: iso(row.claimedAt),
  startedAt: isoOrNull(row.startedAt),
  endedAt: isoOrNull(row.endedAt),
  latenessMs: row.latenessMs,
  evidence: evidenceFor(reader, evidence),
  secrets: (hasRight(reader, 'builds.files') ? (row.secrets ?? []) : []).map(([id, version]) => ({
    id,
    name: secretNames.get(id) ?? null,
    version,
  })),
});

/**
 * The state of the attempt from its BuildDeadline. Null if that cannot be reached, because a view must not
 * fail then.
 */
export const readLive = (env: Env, row: BuildRow): Promise<Live | null> =>
  isActive(row.status)
    ? Promise.resolve(env.DEADLINES.getByName(row.id).read()).catch(() => null)
    : Promise.resolve(null);

/**
 * Reads the build anew in the batch, so that build, attempts and timeline are of the same moment.
 *
 * @param readWaiting says what the build waits for (queue/waiting.ts)
 */
export async function viewBuildDetail(
  env: Env,
  build: BuildRow,
  reader: Reader,
  readWaiting: (row: BuildRow, live: Live | null) => Promise<Pick<BuildDetail, 'waitingFor' | 'queue'>>,
  now: number,
): Promise<Omit<BuildDetail, 'submissions'>> {
  const db = openDatabase(env);
  const [[row], tried, timeline, files, names, ...evidence] = await db.batch([
    db.select(SHOWN_COLUMNS).from(builds).where(eq(builds.id, build.id)),
    db.select(ATTEMPT_COLUMNS).from(attempts).where(eq(attempts.buildId, build.id)).orderBy(asc(attempts.attempt)),
    db.select().from(events).where(eq(events.buildId, build.id)).orderBy(asc(events.id)).limit(EVENTS_SHOWN_MAX),
    db
      .select()
      .from(artifacts)
      .where(eq(artifacts.buildId, build.id))
      .orderBy(asc(artifacts.attempt), asc(artifacts.name)),
    namesOfSecrets(db, build),
    ...evidenceOf(db, build.id),
  ]);
  if (!row) throw new Error(`build ${build.id} was removed while it was read`);
  const seen = byAttempt(...evidence);
  const secretNames = new Map(names.map(({ id, name }) => [id, name]));
  const live = await readLive(env, row);
  const current = tried.at(-1) ?? null;
  const shown = viewBuild(row, current, reader);
  return {
    ...shown,
    verdict: withWaiting(shown.verdict, current && (seen.get(current.attempt) ?? null)),
    attempts: tried.map((attempt) => viewAttempt(attempt, seen.get(attempt.attempt) ?? null, secretNames, reader, now)),
    events: timeline.map(({ type, attempt, at, detail: { supersededBy, ...detail } }): TimelineEvent => {
      const isShown = supersededBy !== undefined && shown.supersededBy !== null;
      return { type, attempt, at: iso(at), detail: isShown ? { ...detail, supersededBy } : detail };
    }),
    artifacts: files.map(viewArtifact),
    live,
    ...(await readWaiting(row, live)),
  };
}
