/**
 * Every table in D1, the one truth of what a build is. Times are milliseconds since 1970, JSON columns hold the contract's
 * shapes. Nothing that changes with each beat lives here: a build costs a constant number of rows, however long it runs.
 *
 * `builds`, `attempts` and `events` are changed by builds.ts alone.
 */
import { sql } from 'drizzle-orm';
import { check, foreignKey, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core';
import type {
  ArtifactGlob,
  BuildStatus,
  Cause,
  Evidence,
  FailureExplanation,
  Finding,
  ProgressHistory,
  TellingLines,
  Timeouts,
  Verdict,
} from '#contract';

const at = (name: string) => integer(name);

export const workers = sqliteTable('workers', {
  id: text('id').primaryKey(),
  name: text('name').notNull().unique(),
  pool: text('pool').notNull(),
  platforms: text('platforms', { mode: 'json' }).$type<('ios' | 'android')[]>().notNull(),
  slots: integer('slots').notNull(),
  /** Takes no claims: set by an admin, `drain` differs from `pause` only in what people are told. */
  paused: text('paused', { enum: ['pause', 'drain'] }),
  /** Infrastructure failures before this moment no longer count towards quarantine. */
  trustedSince: at('trusted_since').notNull(),
  /** The installation of the agent that acts for this worker, and when it was last heard. */
  instanceId: text('instance_id'),
  lastSeen: at('last_seen'),
  /** The agent's own word, and its last doctor report. */
  slotsInUse: integer('slots_in_use').notNull().default(0),
  vms: text('vms', { mode: 'json' }).$type<string[]>().notNull().default([]),
  agentVersion: text('agent_version'),
  findings: text('findings', { mode: 'json' }).$type<Finding[]>(),
  createdAt: at('created_at').notNull(),
  removedAt: at('removed_at'),
});

export const blobs = sqliteTable(
  'blobs',
  {
    sha256: text('sha256').primaryKey(),
    /** `blobs/<sha256>/<random>`: never reused, so that a late delete cannot hit a newer object. */
    r2Key: text('r2_key').notNull(),
    size: integer('size').notNull(),
    createdAt: at('created_at').notNull(),
    /** Moved by each upload that found it stored: collection spares what was touched lately. */
    touchedAt: at('touched_at').notNull(),
  },
  (table) => [index('blobs_touched').on(table.touchedAt)],
);

export const builds = sqliteTable(
  'builds',
  {
    id: text('id').primaryKey(),
    status: text('status').$type<BuildStatus>().notNull(),
    /** The current attempt, 0 before the first claim. With `status`, what every compare-and-set compares. */
    attempt: integer('attempt').notNull().default(0),
    /** The last transition applied: the later statements of its batch depend on it. */
    transitionId: text('transition_id').notNull(),
    verdict: text('verdict').$type<Verdict>(),
    verdictStep: text('verdict_step'),
    verdictMessage: text('verdict_message'),
    maxAttempts: integer('max_attempts').notNull(),
    platform: text('platform', { enum: ['ios', 'android'] }).notNull(),
    command: text('command'),
    profile: text('profile'),
    sourceSha256: text('source_sha256').notNull(),
    /** The same while the source is held; null when its days are over (retention.ts). The foreign key keeps the file. */
    sourceBlob: text('source_blob').references(() => blobs.sha256),
    artifactGlobs: text('artifact_globs', { mode: 'json' }).$type<ArtifactGlob[]>().notNull(),
    timeouts: text('timeouts', { mode: 'json' }).$type<Timeouts>().notNull(),
    pool: text('pool').notNull(),
    /** With platform and profile, whose history the build reads and adds to. */
    project: text('project'),
    labels: text('labels', { mode: 'json' }).$type<Record<string, string>>().notNull(),
    priority: integer('priority').notNull(),
    /** Environment variables, sealed with AES-GCM (inputs.ts). */
    inputs: text('inputs'),
    /** The queue is ordered by rank, then by time: minus the priority, or FRONT_RANK for one that the infrastructure lost. */
    queueRank: integer('queue_rank').notNull(),
    queuedAt: at('queued_at').notNull(),
    /** Not claimable before: the old VM of a lost worker may still run until then. */
    notBefore: at('not_before').notNull().default(0),
    /** The worker that lost the last attempt is passed over until `avoidUntil` if there is another. */
    avoidWorkerId: text('avoid_worker_id'),
    avoidUntil: at('avoid_until').notNull().default(0),
    retryOf: text('retry_of'),
    idempotencyKey: text('idempotency_key'),
    /** SHA-256 of the request that used the idempotency key. */
    requestHash: text('request_hash'),
    createdByKey: text('created_by_key'),
    createdAt: at('created_at').notNull(),
    startedAt: at('started_at'),
    endedAt: at('ended_at'),
    /** When the sweep last asked whether this build's deadline lives. */
    checkedAt: at('checked_at').notNull().default(0),
  },
  (table) => [
    index('builds_queue').on(table.status, table.pool, table.queueRank, table.queuedAt),
    index('builds_created').on(table.createdAt),
    index('builds_ended').on(table.endedAt),
    // Also what makes the check of its foreign key cheap when a blob goes.
    index('builds_source').on(table.sourceBlob, table.endedAt),
    uniqueIndex('builds_idempotency').on(table.createdByKey, table.idempotencyKey),
    check(
      'builds_final',
      sql`(${table.status} IN ('succeeded', 'failed', 'cancelled')) = (${table.endedAt} IS NOT NULL)`,
    ),
  ],
);

export const attempts = sqliteTable(
  'attempts',
  {
    buildId: text('build_id')
      .notNull()
      .references(() => builds.id),
    attempt: integer('attempt').notNull(),
    workerId: text('worker_id').notNull(),
    instanceId: text('instance_id').notNull(),
    claimId: text('claim_id').notNull(),
    claimedAt: at('claimed_at').notNull(),
    startedAt: at('started_at'),
    endedAt: at('ended_at'),
    verdict: text('verdict').$type<Verdict>(),
    verdictStep: text('verdict_step'),
    verdictMessage: text('verdict_message'),
    cause: text('cause').$type<Cause>(),
    evidence: text('evidence', { mode: 'json' }).$type<Evidence>(),
    exitCode: integer('exit_code'),
    /** The known error in which the log of a failed build ended, or else the lines that most likely tell it. */
    explained: text('explained', { mode: 'json' }).$type<FailureExplanation | { tellingLines: TellingLines }>(),
    /** The longest time for which the log of a successful build did not grow. */
    quietMs: integer('quiet_ms'),
    latenessMs: integer('lateness_ms'),
    /** SHA-256 of the report that ended it: an exact repetition is answered with the stored outcome. */
    reportHash: text('report_hash'),
    /** What the agent says the whole log is; compared before it is sealed. */
    logLength: integer('log_length'),
    logSha256: text('log_sha256'),
    /** Where the sealed log lies in R2. */
    logR2Key: text('log_r2_key'),
    logSealedLength: integer('log_sealed_length'),
    logComplete: integer('log_complete', { mode: 'boolean' }),
    /** When its days were over; what lies in R2 is then on its way out. */
    logDeletedAt: at('log_deleted_at'),
  },
  (table) => [
    primaryKey({ columns: [table.buildId, table.attempt] }),
    uniqueIndex('attempts_claim').on(table.workerId, table.claimId),
    index('attempts_worker').on(table.workerId, table.endedAt),
    index('attempts_log').on(table.endedAt).where(sql`${table.logR2Key} IS NOT NULL AND ${table.logDeletedAt} IS NULL`),
  ],
);

export const events = sqliteTable(
  'events',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    buildId: text('build_id')
      .notNull()
      .references(() => builds.id),
    attempt: integer('attempt').notNull(),
    type: text('type').notNull(),
    at: at('at').notNull(),
    detail: text('detail', { mode: 'json' }).$type<Record<string, unknown>>().notNull(),
  },
  (table) => [index('events_build').on(table.buildId, table.id)],
);

export const artifacts = sqliteTable(
  'artifacts',
  {
    buildId: text('build_id').notNull(),
    attempt: integer('attempt').notNull(),
    name: text('name').notNull(),
    /** The foreign key makes a report that names an absent blob fail as a whole. */
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256),
    size: integer('size').notNull(),
    createdAt: at('created_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.buildId, table.attempt, table.name] }),
    foreignKey({
      columns: [table.buildId, table.attempt],
      foreignColumns: [attempts.buildId, attempts.attempt],
    }),
    index('artifacts_blob').on(table.sha256),
    index('artifacts_created').on(table.createdAt),
  ],
);

/** How long the phases of a project's builds take (histories.ts). Losing a row costs an estimate, nothing else. */
export const histories = sqliteTable(
  'histories',
  {
    project: text('project').notNull(),
    platform: text('platform', { enum: ['ios', 'android'] }).notNull(),
    /** '' for builds with a command of their own. */
    profile: text('profile').notNull(),
    history: text('history', { mode: 'json' }).$type<ProgressHistory>().notNull(),
    updatedAt: at('updated_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.project, table.platform, table.profile] }),
    index('histories_updated').on(table.updatedAt),
  ],
);

export const keys = sqliteTable(
  'keys',
  {
    id: text('id').primaryKey(),
    /** SHA-256 of the secret; the secret itself is shown once and never stored. */
    hash: text('hash').notNull().unique(),
    name: text('name').notNull(),
    scope: text('scope', { enum: ['admin', 'submit', 'worker'] }).notNull(),
    workerId: text('worker_id').references(() => workers.id),
    /** For scope `submit`: the pools whose builds it may submit and see. Null: all. */
    pools: text('pools', { mode: 'json' }).$type<string[]>(),
    createdAt: at('created_at').notNull(),
    lastUsedAt: at('last_used_at'),
    expiresAt: at('expires_at'),
    revokedAt: at('revoked_at'),
    /** The key that this one was made to replace. */
    rotatedFrom: text('rotated_from'),
    /** Set once it was rotated: from here on it opens nothing, if a key that replaces it was ever used. */
    overlapEndsAt: at('overlap_ends_at'),
  },
  (table) => [index('keys_rotated_from').on(table.rotatedFrom)],
);

/** One-time codes that turn into a worker's own key. */
export const enrolments = sqliteTable('enrolments', {
  /** SHA-256 of the code. */
  hash: text('hash').primaryKey(),
  workerId: text('worker_id')
    .notNull()
    .references(() => workers.id),
  createdAt: at('created_at').notNull(),
  expiresAt: at('expires_at').notNull(),
  /** The key that it has turned into. */
  keyId: text('key_id'),
});

/** Who did what, when, to what: a bounded record for admins, newest kept. */
export const audit = sqliteTable('audit', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  at: at('at').notNull(),
  keyId: text('key_id').notNull(),
  keyName: text('key_name').notNull(),
  action: text('action').notNull(),
  target: text('target'),
});

/** Work that a transition needs done elsewhere, written in the transition's own batch; deleted by whoever did it. */
export const outbox = sqliteTable(
  'outbox',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    kind: text('kind', { enum: ['close_deadline', 'seal_log', 'delete_log', 'delete_object'] }).notNull(),
    /** Empty, as `attempt` is 0, for work that is about a stored object alone. */
    buildId: text('build_id').notNull(),
    attempt: integer('attempt').notNull(),
    r2Key: text('r2_key'),
    dueAt: at('due_at').notNull(),
    tries: integer('tries').notNull().default(0),
  },
  (table) => [index('outbox_due').on(table.dueAt)],
);
