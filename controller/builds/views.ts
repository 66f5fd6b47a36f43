/** Shows rows of builds as the API answers them. Reads only. */
import { and, asc, desc, eq, lt } from 'drizzle-orm';
import type {
  Artifact,
  AttemptView,
  Build,
  BuildDetail,
  BuildStatus,
  Evidence,
  Live,
  TimelineEvent,
  VerdictView,
} from '#contract';
import { readableBy } from '../access/readable-builds.ts';
import type { Holder } from '../access/rights.ts';
import { openDatabase } from '../database.ts';
import { artifacts, attempts, builds, events } from '../schema/index.ts';
import { namesOfSecrets } from '../secrets/stored-secrets.ts';
import { iso, isoOrNull } from '../times.ts';
import { byAttempt, evidenceOf } from './evidence.ts';
import { ATTEMPT_COLUMNS, type AttemptRow, BUILD_COLUMNS, type BuildRow } from './rows.ts';
import { isActive } from './transitions.ts';
import { explainCause, explainVerdict, sayWaiting } from './verdicts.ts';
import { waitingFor } from './waiting.ts';

const EVENTS_SHOWN_MAX = 500;

export const viewBuild = (row: BuildRow, attempt: AttemptRow | null): Build => ({
  id: row.id,
  status: row.status,
  verdict: row.verdict ? explainVerdict(row.verdict, row.verdictStep, row.verdictMessage, attempt?.explained) : null,
  cause: attempt?.cause && row.verdict ? explainCause(attempt.cause) : null,
  attempt: row.attempt,
  maxAttempts: row.maxAttempts,
  handBacks: row.handBacks,
  workerId: row.status === 'queued' ? null : (attempt?.workerId ?? null),
  platform: row.platform,
  command: row.command,
  profile: row.profile,
  source: { sha256: row.sourceSha256 },
  artifactGlobs: row.artifactGlobs,
  timeouts: row.timeouts,
  pool: row.pool,
  project: row.project,
  projectId: row.projectId,
  trusted: row.trusted,
  labels: row.labels,
  priority: row.priority,
  retryOf: row.retryOf,
  createdAt: iso(row.createdAt),
  queuedAt: iso(row.queuedAt),
  startedAt: isoOrNull(row.startedAt),
  endedAt: isoOrNull(row.endedAt),
});

/** A build without output waited for something, and the evidence of its attempt has what. */
const withWaiting = (verdict: VerdictView | null, evidence: Evidence | null): VerdictView | null =>
  verdict?.code === 'no_output' && verdict.message === null && evidence
    ? { ...verdict, message: sayWaiting(evidence) }
    : verdict;

const viewAttempt = (
  row: AttemptRow,
  evidence: Evidence | null,
  secretNames: ReadonlyMap<string, string>,
): AttemptView => ({
  attempt: row.attempt,
  workerId: row.workerId,
  verdict: withWaiting(
    row.verdict ? explainVerdict(row.verdict, row.verdictStep, row.verdictMessage, row.explained) : null,
    evidence,
  ),
  handedBack: row.handedBack,
  cause: row.cause ? explainCause(row.cause) : null,
  exitCode: row.exitCode,
  claimedAt: iso(row.claimedAt),
  startedAt: isoOrNull(row.startedAt),
  endedAt: isoOrNull(row.endedAt),
  latenessMs: row.latenessMs,
  evidence,
  secrets: (row.secrets ?? []).map(([id, version]) => ({ id, name: secretNames.get(id) ?? null, version })),
});

/**
 * What BuildDeadline knows of the attempt. Null if it cannot be reached, because a view must not fail for it.
 */
export const readLive = (env: Env, row: BuildRow): Promise<Live | null> =>
  isActive(row.status)
    ? Promise.resolve(env.DEADLINES.getByName(row.id).read()).catch(() => null)
    : Promise.resolve(null);

/** Reads the build anew in the batch, so that build, attempts and timeline are of the same moment. */
export async function viewBuildDetail(
  env: Env,
  build: BuildRow,
  workerTimeoutMs: number,
  now: number,
): Promise<BuildDetail> {
  const db = openDatabase(env);
  const [[row = build], tried, timeline, files, names, ...evidence] = await db.batch([
    db.select(BUILD_COLUMNS).from(builds).where(eq(builds.id, build.id)),
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
  const seen = byAttempt(...evidence);
  const secretNames = new Map(names.map(({ id, name }) => [id, name]));
  const live = await readLive(env, row);
  const current = tried.at(-1) ?? null;
  const shown = viewBuild(row, current);
  return {
    ...shown,
    verdict: withWaiting(shown.verdict, current && (seen.get(current.attempt) ?? null)),
    attempts: tried.map((attempt) => viewAttempt(attempt, seen.get(attempt.attempt) ?? null, secretNames)),
    events: timeline.map(({ type, attempt, at, detail }): TimelineEvent => ({ type, attempt, at: iso(at), detail })),
    artifacts: files.map(({ name, attempt, sha256, size }): Artifact => ({ name, attempt, sha256, size })),
    live,
    waitingFor: await waitingFor(env, row, live, workerTimeoutMs, now),
  };
}

export interface BuildFilter {
  status?: BuildStatus;
  pool?: string;
  /** Who asks. Only builds that it may read are shown. */
  by: Holder;
  /** The id of a build. Only older builds are shown; ids sort by time. */
  cursor?: string;
  limit: number;
}

/** A page of builds, newest first. */
export async function viewBuildList(env: Env, filter: BuildFilter, withLive: boolean) {
  const rows = await openDatabase(env)
    .select({ build: BUILD_COLUMNS, attempt: ATTEMPT_COLUMNS })
    .from(builds)
    .leftJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(
      and(
        filter.status ? eq(builds.status, filter.status) : undefined,
        filter.pool ? eq(builds.pool, filter.pool) : undefined,
        readableBy(filter.by),
        filter.cursor ? lt(builds.id, filter.cursor) : undefined,
      ),
    )
    .orderBy(desc(builds.id))
    .limit(filter.limit);
  const shown = await Promise.all(
    rows.map(async ({ build, attempt }) => ({
      ...viewBuild(build, attempt),
      ...(withLive ? { live: await readLive(env, build) } : {}),
    })),
  );
  return { builds: shown, nextCursor: rows.length === filter.limit ? (shown.at(-1)?.id ?? null) : null };
}
