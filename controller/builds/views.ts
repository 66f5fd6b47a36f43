/** Rows as the API shows them. Reads only. */
import { and, asc, desc, eq, gt, inArray, isNull, lt, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import type { Artifact, AttemptView, Build, BuildDetail, BuildStatus, Live, TimelineEvent } from '#contract';
import * as schema from '../schema.ts';
import { artifacts, attempts, builds, events, workers } from '../schema.ts';
import type { AttemptRow, BuildRow } from './effects.ts';
import { isActive } from './transitions.ts';
import { explainCause, explainVerdict } from './verdicts.ts';

const EVENTS_SHOWN_MAX = 500;

const open = (env: Env) => drizzle(env.DB, { schema });
const iso = (ms: number): string => new Date(ms).toISOString();
const isoOrNull = (ms: number | null): string | null => (ms === null ? null : iso(ms));

export const viewBuild = (row: BuildRow, attempt: AttemptRow | null): Build => ({
  id: row.id,
  status: row.status,
  verdict: row.verdict ? explainVerdict(row.verdict, row.verdictStep, row.verdictMessage, attempt?.explained) : null,
  cause: attempt?.cause && row.verdict ? explainCause(attempt.cause) : null,
  attempt: row.attempt,
  maxAttempts: row.maxAttempts,
  workerId: row.status === 'queued' ? null : (attempt?.workerId ?? null),
  platform: row.platform,
  command: row.command,
  profile: row.profile,
  source: { sha256: row.sourceSha256 },
  artifactGlobs: row.artifactGlobs,
  timeouts: row.timeouts,
  pool: row.pool,
  project: row.project,
  labels: row.labels,
  priority: row.priority,
  retryOf: row.retryOf,
  createdAt: iso(row.createdAt),
  queuedAt: iso(row.queuedAt),
  startedAt: isoOrNull(row.startedAt),
  endedAt: isoOrNull(row.endedAt),
});

const viewAttempt = (row: AttemptRow): AttemptView => ({
  attempt: row.attempt,
  workerId: row.workerId,
  verdict: row.verdict ? explainVerdict(row.verdict, row.verdictStep, row.verdictMessage, row.explained) : null,
  cause: row.cause ? explainCause(row.cause) : null,
  exitCode: row.exitCode,
  claimedAt: iso(row.claimedAt),
  startedAt: isoOrNull(row.startedAt),
  endedAt: isoOrNull(row.endedAt),
  latenessMs: row.latenessMs,
  evidence: row.evidence,
});

/** What the deadline object knows; null when it cannot be asked: a view must not fail for it. */
export const readLive = (env: Env, row: BuildRow): Promise<Live | null> =>
  isActive(row.status)
    ? Promise.resolve(env.DEADLINES.getByName(row.id).read()).catch(() => null)
    : Promise.resolve(null);

export async function viewBuildDetail(env: Env, buildId: string, now: number): Promise<BuildDetail | null> {
  const db = open(env);
  const [[row], tried, timeline, files] = await db.batch([
    db.select().from(builds).where(eq(builds.id, buildId)),
    db.select().from(attempts).where(eq(attempts.buildId, buildId)).orderBy(asc(attempts.attempt)),
    db.select().from(events).where(eq(events.buildId, buildId)).orderBy(asc(events.id)).limit(EVENTS_SHOWN_MAX),
    db
      .select()
      .from(artifacts)
      .where(eq(artifacts.buildId, buildId))
      .orderBy(asc(artifacts.attempt), asc(artifacts.name)),
  ]);
  if (!row) return null;
  const live = await readLive(env, row);
  return {
    ...viewBuild(row, tried.at(-1) ?? null),
    attempts: tried.map(viewAttempt),
    events: timeline.map(({ type, attempt, at, detail }): TimelineEvent => ({ type, attempt, at: iso(at), detail })),
    artifacts: files.map(({ name, attempt, sha256, size }): Artifact => ({ name, attempt, sha256, size })),
    live,
    waitingFor: await waitingFor(env, row, live, now),
  };
}

export interface BuildFilter {
  status?: BuildStatus;
  pool?: string;
  /** Only builds of these; null for all. */
  pools?: readonly string[] | null;
  /** Builds older than this one: ids sort by time. */
  cursor?: string;
  limit: number;
}

/** Newest first. */
export async function viewBuildList(env: Env, filter: BuildFilter, withLive: boolean) {
  const rows = await open(env)
    .select({ build: builds, attempt: attempts })
    .from(builds)
    .leftJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(
      and(
        filter.status ? eq(builds.status, filter.status) : undefined,
        filter.pool ? eq(builds.pool, filter.pool) : undefined,
        filter.pools ? inArray(builds.pool, [...filter.pools]) : undefined,
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

/** In words for people: what has to happen next. */
async function waitingFor(env: Env, row: BuildRow, live: Live | null, now: number): Promise<string | null> {
  if (row.status === 'assigned') return live?.stage === 'checking' ? 'the health checks of its VM' : 'its VM to boot';
  if (row.status !== 'queued') return null;
  if (row.notBefore > now) return `the VM of the lost attempt to be gone for certain, until ${iso(row.notBefore)}`;
  const db = open(env);
  const heard = await db
    .select({ platforms: workers.platforms, paused: workers.paused })
    .from(workers)
    .where(and(eq(workers.pool, row.pool), isNull(workers.removedAt), gt(workers.lastSeen, now - 180_000)));
  const able = heard.filter(({ platforms }) => platforms.includes(row.platform));
  if (able.length === 0) return `a worker of pool ${row.pool} that builds for ${row.platform}: none is online`;
  if (able.every(({ paused }) => paused)) return 'a worker that is not paused';
  const [ahead] = await db
    .select({ count: sql<number>`count(*)` })
    .from(builds)
    .where(
      and(
        eq(builds.status, 'queued'),
        eq(builds.pool, row.pool),
        inArray(builds.platform, [row.platform]),
        sql`(${builds.queueRank}, ${builds.queuedAt}) < (${row.queueRank}, ${row.queuedAt})`,
      ),
    );
  return `a free worker, with ${ahead?.count ?? 0} build(s) ahead of it`;
}
