/**
 * Defines every table in D1. Times are milliseconds since 1970. JSON columns hold the shapes of the contract.
 *
 * Invariant: a build costs a constant number of rows, however long it runs. Nothing here changes with each
 * beat.
 *
 * Each file names in its header the tables that it writes; test/owners.test.ts holds the list.
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
  /**
   * Set by an admin: the worker takes no claims. `drain` differs from `pause` only in the words for people.
   */
  paused: text('paused', { enum: ['pause', 'drain'] }),
  /** Infrastructure failures before this moment no longer count towards quarantine. */
  trustedSince: at('trusted_since').notNull(),
  /** The installation of the agent that acts for this worker, and when the controller last heard it. */
  instanceId: text('instance_id'),
  lastSeen: at('last_seen'),
  /** What the agent says of itself, and the last report of its doctor. */
  slotsInUse: integer('slots_in_use').notNull().default(0),
  vms: text('vms', { mode: 'json' }).$type<string[]>().notNull().default([]),
  agentVersion: text('agent_version'),
  /** Why its agent claims no builds although a slot is free. */
  notReady: text('not_ready'),
  findings: text('findings', { mode: 'json' }).$type<Finding[]>(),
  createdAt: at('created_at').notNull(),
  removedAt: at('removed_at'),
});

export const blobs = sqliteTable(
  'blobs',
  {
    sha256: text('sha256').primaryKey(),
    /** `blobs/<sha256>/<random>`. It is never reused, so that a late delete cannot hit a newer object. */
    r2Key: text('r2_key').notNull(),
    size: integer('size').notNull(),
    createdAt: at('created_at').notNull(),
    /**
     * Set anew by each upload that finds the file stored. Retention spares files that were touched lately.
     */
    touchedAt: at('touched_at').notNull(),
  },
  (table) => [index('blobs_touched').on(table.touchedAt)],
);

export const builds = sqliteTable(
  'builds',
  {
    id: text('id').primaryKey(),
    status: text('status').$type<BuildStatus>().notNull(),
    /** The current attempt, 0 before the first claim. Every compare-and-set compares it and `status`. */
    attempt: integer('attempt').notNull().default(0),
    /** The last transition that was applied. The later statements of its batch depend on it. */
    transitionId: text('transition_id').notNull(),
    verdict: text('verdict').$type<Verdict>(),
    verdictStep: text('verdict_step'),
    verdictMessage: text('verdict_message'),
    maxAttempts: integer('max_attempts').notNull(),
    /** How many of its attempts were handed back. They do not count towards `maxAttempts`. */
    handBacks: integer('hand_backs').notNull().default(0),
    platform: text('platform', { enum: ['ios', 'android'] }).notNull(),
    command: text('command'),
    profile: text('profile'),
    sourceSha256: text('source_sha256').notNull(),
    /** The same hash while the source is kept; retention sets it to null. The foreign key keeps the file. */
    sourceBlob: text('source_blob').references(() => blobs.sha256),
    artifactGlobs: text('artifact_globs', { mode: 'json' }).$type<ArtifactGlob[]>().notNull(),
    timeouts: text('timeouts', { mode: 'json' }).$type<Timeouts>().notNull(),
    pool: text('pool').notNull(),
    /** Together with platform and profile it names the history that the build reads and adds to. */
    project: text('project'),
    labels: text('labels', { mode: 'json' }).$type<Record<string, string>>().notNull(),
    priority: integer('priority').notNull(),
    /**
     * Whether the build was given environment variables or secret files. They are in `build_inputs` until
     * retention deletes them. Null in rows of the former release (builds/read-inputs.ts).
     */
    hasInputs: integer('has_inputs', { mode: 'boolean' }),
    /**
     * Leaves the table with the release after this one (ARCHITECTURE.md, "How the schema changes"). The
     * former release kept the sealed inputs here. This one writes {@link INPUTS_MOVED} in their place.
     */
    inputs: text('inputs'),
    /**
     * The queue is sorted by rank, then by time. The rank is minus the priority, or FRONT_RANK after an
     * attempt that was lost or handed back.
     */
    queueRank: integer('queue_rank').notNull(),
    queuedAt: at('queued_at').notNull(),
    /** No worker may claim the build before this, because the VM of a lost worker may still run. */
    notBefore: at('not_before').notNull().default(0),
    /**
     * The worker on which the last attempt ended. Until `avoidUntil` it gets this build only if there is no
     * other worker.
     */
    avoidWorkerId: text('avoid_worker_id'),
    avoidUntil: at('avoid_until').notNull().default(0),
    retryOf: text('retry_of'),
    /**
     * Both leave the table with the release after this one. The former release looked here for the name that
     * a request gave itself. This one looks in `idempotency`, and here for rows of the former release.
     */
    idempotencyKey: text('idempotency_key'),
    requestHash: text('request_hash'),
    createdByKey: text('created_by_key'),
    createdAt: at('created_at').notNull(),
    startedAt: at('started_at'),
    endedAt: at('ended_at'),
    /** When the sweep last checked the deadline of this build. */
    checkedAt: at('checked_at').notNull().default(0),
  },
  (table) => [
    index('builds_queue').on(table.status, table.pool, table.queueRank, table.queuedAt),
    index('builds_created').on(table.createdAt),
    index('builds_ended').on(table.endedAt),
    // It also makes the foreign key cheap to check when a blob is removed.
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
    /** True if its Mac could have no VM. It then counts neither for the build nor against the worker. */
    handedBack: integer('handed_back', { mode: 'boolean' }).notNull().default(false),
    cause: text('cause').$type<Cause>(),
    /**
     * Leaves the table with the release after this one. The former release kept evidence here. This one keeps
     * it in `attempt_evidence`.
     */
    evidence: text('evidence', { mode: 'json' }).$type<Evidence>(),
    exitCode: integer('exit_code'),
    /**
     * The known error in which the log of a failed build ended, or else the lines that most likely tell it.
     */
    explained: text('explained', { mode: 'json' }).$type<FailureExplanation | { tellingLines: TellingLines }>(),
    /** The longest time for which a successful build printed nothing and did not work. */
    quietMs: integer('quiet_ms'),
    latenessMs: integer('lateness_ms'),
    /** SHA-256 of the report that ended it. The stored outcome answers an exact repetition. */
    reportHash: text('report_hash'),
    /** Length and digest of the whole log, as the agent told them. Sealing compares them. */
    logLength: integer('log_length'),
    logSha256: text('log_sha256'),
    /** The prefix of the sealed log in R2. */
    logR2Key: text('log_r2_key'),
    logSealedLength: integer('log_sealed_length'),
    logComplete: integer('log_complete', { mode: 'boolean' }),
    /** When retention ended the log. The outbox then deletes its objects in R2. */
    logDeletedAt: at('log_deleted_at'),
  },
  (table) => [
    primaryKey({ columns: [table.buildId, table.attempt] }),
    uniqueIndex('attempts_claim').on(table.workerId, table.claimId),
    index('attempts_worker').on(table.workerId, table.endedAt),
    index('attempts_log').on(table.endedAt).where(sql`${table.logR2Key} IS NOT NULL AND ${table.logDeletedAt} IS NULL`),
  ],
);

/**
 * What a build was given in private: environment variables and secret files, up to 1.4 MB. Nothing that reads
 * builds reads this table. The cascade lets the former release, which does not know the table, remove builds.
 */
export const buildInputs = sqliteTable(
  'build_inputs',
  {
    buildId: text('build_id')
      .primaryKey()
      .references(() => builds.id, { onDelete: 'cascade' }),
    /** Names the INPUTS_KEY that sealed them (secrets/inputs.ts). */
    keyId: text('key_id').notNull(),
    sealed: text('sealed').notNull(),
  },
  (table) => [index('build_inputs_key').on(table.keyId)],
);

/** What an agent saw of an attempt that did not end well, with the end of its log: up to 250 KB. */
export const attemptEvidence = sqliteTable(
  'attempt_evidence',
  {
    buildId: text('build_id').notNull(),
    attempt: integer('attempt').notNull(),
    evidence: text('evidence', { mode: 'json' }).$type<Evidence>().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.buildId, table.attempt] }),
    foreignKey({
      columns: [table.buildId, table.attempt],
      foreignColumns: [attempts.buildId, attempts.attempt],
    }).onDelete('cascade'),
  ],
);

/**
 * The names that requests gave themselves, so that a repetition gets the build of the first one. A name is
 * unique in the lineage of a key and a project.
 */
export const idempotency = sqliteTable(
  'idempotency',
  {
    /** `keys.root_id` of the key that asked. A rotated key has the root of the key that it replaced. */
    rootId: text('root_id').notNull(),
    /** '' for a build without a project. */
    project: text('project').notNull(),
    name: text('name').notNull(),
    /** An HMAC of the whole request with its secrets (secrets/request-mac.ts). */
    requestMac: text('request_mac').notNull(),
    /** The id of the build that the first request made. */
    target: text('target').notNull(),
    createdAt: at('created_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.rootId, table.project, table.name] }),
    index('idempotency_target').on(table.target),
    index('idempotency_created').on(table.createdAt),
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
    /** Because of the foreign key, a report that names a blob that is not stored fails as a whole. */
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

/**
 * How long the phases of a project's builds take (phase-history/phase-history.ts). A lost row only costs an
 * estimate.
 */
export const histories = sqliteTable(
  'histories',
  {
    project: text('project').notNull(),
    platform: text('platform', { enum: ['ios', 'android'] }).notNull(),
    /** '' for builds that have a command and no profile. */
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
    /** SHA-256 of the secret. The secret itself is shown once and never stored. */
    hash: text('hash').notNull().unique(),
    name: text('name').notNull(),
    scope: text('scope', { enum: ['admin', 'submit', 'worker'] }).notNull(),
    workerId: text('worker_id').references(() => workers.id),
    /** For scope `submit`: the pools whose builds the key may submit and see. Null means all pools. */
    pools: text('pools', { mode: 'json' }).$type<string[]>(),
    createdAt: at('created_at').notNull(),
    lastUsedAt: at('last_used_at'),
    expiresAt: at('expires_at'),
    revokedAt: at('revoked_at'),
    /** The key that this one replaces. */
    rotatedFrom: text('rotated_from'),
    /**
     * The key that asked for the rotation: an admin's, or `rotated_from` if that key renewed itself. Null for
     * a first key, and if the former release made the key.
     */
    rotatedBy: text('rotated_by'),
    /**
     * The first key of the lineage: its own id, or the root of the key that it replaces. Null if the former
     * release made the key (access/key-rotation.ts follows `rotated_from` then).
     */
    rootId: text('root_id'),
    /** Set by a rotation. After it the key opens nothing, once somebody has used a key that replaces it. */
    overlapEndsAt: at('overlap_ends_at'),
  },
  (table) => [index('keys_rotated_from').on(table.rotatedFrom), index('keys_root').on(table.rootId)],
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
  /** The key for which somebody traded the code. */
  keyId: text('key_id'),
});

/** Who did what, when, and to what, for admins. Only the newest entries are kept. */
export const audit = sqliteTable('audit', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  at: at('at').notNull(),
  keyId: text('key_id').notNull(),
  keyName: text('key_name').notNull(),
  action: text('action').notNull(),
  target: text('target'),
});

/**
 * Work that a transition leaves for later, written in its own batch. Whoever does the work deletes the row.
 */
export const outbox = sqliteTable(
  'outbox',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    kind: text('kind', { enum: ['close_deadline', 'seal_log', 'delete_log', 'delete_object'] }).notNull(),
    /** Empty, and `attempt` 0, for work on a stored object alone. */
    buildId: text('build_id').notNull(),
    attempt: integer('attempt').notNull(),
    r2Key: text('r2_key'),
    dueAt: at('due_at').notNull(),
    tries: integer('tries').notNull().default(0),
  },
  (table) => [index('outbox_due').on(table.dueAt)],
);
