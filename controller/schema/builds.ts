/** Defines builds, their attempts, inputs, evidence, events and artifacts. */
import { sql } from 'drizzle-orm';
import { check, foreignKey, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core';
import {
  type ArtifactApp,
  type ArtifactGlob,
  type AttemptImage,
  type BuildStatus,
  CACHE_MODES,
  type Cause,
  type Evidence,
  type OriginDetail,
  type Timeouts,
  type ToldByLog,
  type Verdict,
} from '#contract';
import { at } from './columns.ts';
import { blobs } from './files.ts';

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
    /** The folder of the app in the source. Null: the root of the source. */
    projectRoot: text('project_root'),
    /** The app, as the request says, or the agent that asked for the number of the build. */
    appId: text('app_id'),
    appVersion: text('app_version'),
    /** The number that the project itself has. */
    appBuildNumber: integer('app_build_number'),
    /** The number that the build was given. It is set once, and all attempts have it. */
    buildNumber: integer('build_number'),
    sourceSha256: text('source_sha256').notNull(),
    /** The same hash while the source is kept; retention sets it to null. The foreign key keeps the file. */
    sourceBlob: text('source_blob').references(() => blobs.sha256),
    artifactGlobs: text('artifact_globs', { mode: 'json' }).$type<ArtifactGlob[]>().notNull(),
    timeouts: text('timeouts', { mode: 'json' }).$type<Timeouts>().notNull(),
    pool: text('pool').notNull(),
    /** The name of the image that it asks for. Null: the default of the Mac. */
    image: text('image'),
    /**
     * The attempt that an offer of that image began. A trigger of migration 0007 lets no other attempt of a
     * build that asks for an image begin, because the former release would give the build to any Mac.
     */
    imageAttempt: integer('image_attempt'),
    /** How long the VM of a failed attempt is kept for a look. Null: not at all. */
    keepMs: integer('keep_ms'),
    /**
     * '' in a row of the former release until the sweep has found it. Only keys of all projects see it then.
     */
    projectId: text('project_id').notNull().default(''),
    /** The name that the request gave. It leaves the table with the release after this one. */
    project: text('project'),
    /** False: it builds a stranger's source, so it gets no stored secret and writes nothing that lasts. */
    trusted: integer('trusted', { mode: 'boolean' }).notNull().default(true),
    /** Whether its key had `secrets.use` for its project and pool when it was requested. */
    usesSecrets: integer('uses_secrets', { mode: 'boolean' }).notNull().default(false),
    cacheMode: text('cache_mode', { enum: CACHE_MODES }).notNull().default('none'),
    labels: text('labels', { mode: 'json' }).$type<Record<string, string>>().notNull(),
    priority: integer('priority').notNull(),
    /**
     * Whether the build was given environment variables or secret files. They are in `build_inputs` until
     * retention deletes them. Null in rows of the former release (secrets/read-inputs.ts).
     */
    hasInputs: integer('has_inputs', { mode: 'boolean' }),
    /**
     * Leaves the table with the release after this one (ARCHITECTURE.md, "How the schema changes"). The
     * former release kept the sealed inputs here. This one writes {@link INPUTS_MOVED} in their place.
     */
    inputs: text('inputs'),
    /** The queue is sorted by rank, then by fairness, then by time (builds/queue-rank.ts). */
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
    /** The first key of that key's lineage. Null in rows of the former release. */
    createdByRoot: text('created_by_root'),
    /** Builds of one group of a project may supersede each other. */
    groupName: text('group_name'),
    /** The hash by @expo/fingerprint of what was built, as the request says. */
    fingerprint: text('fingerprint'),
    /** The newer build of the group that cancelled this one. */
    supersededBy: text('superseded_by'),
    /** Where the source comes from, as the request says. `build_origins` has the rest of it. */
    repository: text('repository'),
    branch: text('branch'),
    commitSha: text('commit_sha'),
    pullRequest: integer('pull_request'),
    createdAt: at('created_at').notNull(),
    startedAt: at('started_at'),
    endedAt: at('ended_at'),
    /** When the sweep last checked the deadline of this build. */
    checkedAt: at('checked_at').notNull().default(0),
  },
  (table) => [
    index('builds_queue').on(
      table.status,
      table.pool,
      table.platform,
      table.projectId,
      table.trusted,
      table.queueRank,
      table.queuedAt,
    ),
    // The first build of each image, for the pick. Those that ask for none have NULL there.
    index('builds_queue_image')
      .on(
        ...[table.pool, table.platform, table.projectId, table.trusted, table.image],
        ...[table.queueRank, table.queuedAt],
      )
      .where(sql`${table.status} = 'queued'`),
    index('builds_active').on(table.projectId).where(sql`${table.status} IN ('assigned', 'building')`),
    index('builds_project').on(table.projectId, table.createdAt, table.id),
    index('builds_branch').on(table.projectId, table.branch, table.createdAt).where(sql`${table.branch} IS NOT NULL`),
    index('builds_commit')
      .on(table.projectId, table.commitSha, table.createdAt)
      .where(sql`${table.commitSha} IS NOT NULL`),
    index('builds_pull_request')
      .on(table.projectId, table.pullRequest, table.createdAt)
      .where(sql`${table.pullRequest} IS NOT NULL`),
    index('builds_group')
      .on(table.projectId, table.groupName, table.createdAt)
      .where(sql`${table.groupName} IS NOT NULL`),
    index('builds_fingerprint')
      .on(table.projectId, table.fingerprint, table.createdAt)
      .where(sql`${table.fingerprint} IS NOT NULL`),
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

/** The fields of the origin of a build's source that no filter uses. */
export const buildOrigins = sqliteTable('build_origins', {
  buildId: text('build_id')
    .primaryKey()
    .references(() => builds.id, { onDelete: 'cascade' }),
  origin: text('origin', { mode: 'json' }).$type<OriginDetail>().notNull(),
});

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
    /** The offer of its worker with which it began. Null if its agent is older and offers none. */
    image: text('image', { mode: 'json' }).$type<AttemptImage>(),
    /** Until when its agent keeps the VM for a look. */
    keptUntil: at('kept_until'),
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
     * Both are set if only the phase of the error is known.
     */
    explained: text('explained', { mode: 'json' }).$type<ToldByLog>(),
    /** The longest time for which a successful build printed nothing and did not work. */
    quietMs: integer('quiet_ms'),
    /** The stored secrets that it fetched, as pairs of id and version. */
    secrets: text('secrets', { mode: 'json' }).$type<[id: string, version: number][]>(),
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
    index('attempts_kept').on(table.workerId, table.keptUntil).where(sql`${table.keptUntil} IS NOT NULL`),
    index('attempts_log').on(table.endedAt).where(sql`${table.logR2Key} IS NOT NULL AND ${table.logDeletedAt} IS NULL`),
  ],
);

/**
 * The private inputs of a build: environment variables and secret files, up to 1.4 MB. No code that reads
 * builds reads this table. The cascade lets the former release, which does not know the table, remove builds.
 */
export const buildInputs = sqliteTable(
  'build_inputs',
  {
    buildId: text('build_id')
      .primaryKey()
      .references(() => builds.id, { onDelete: 'cascade' }),
    /** Names the key of INPUTS_KEY that sealed them (secrets/sealing-keys.ts). */
    keyId: text('key_id').notNull(),
    sealed: text('sealed').notNull(),
  },
  (table) => [index('build_inputs_key').on(table.keyId)],
);

/** The evidence of an attempt that did not end well, with the end of its log: up to 250 KB. */
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
    projectId: text('project').notNull(),
    name: text('name').notNull(),
    /** An HMAC of the whole request with its secrets (secrets/request-mac.ts). */
    requestMac: text('request_mac').notNull(),
    /** The id of the build that the first request made. */
    target: text('target').notNull(),
    createdAt: at('created_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.rootId, table.projectId, table.name] }),
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
    /** The data that the agent has read from an app. Null for other files. */
    app: text('app', { mode: 'json' }).$type<Omit<ArtifactApp, 'icon'>>(),
    /** The icon of the app. The former release, which does not know the column, may remove the file. */
    icon: text('icon').references(() => blobs.sha256, { onDelete: 'set null' }),
  },
  (table) => [
    primaryKey({ columns: [table.buildId, table.attempt, table.name] }),
    foreignKey({
      columns: [table.buildId, table.attempt],
      foreignColumns: [attempts.buildId, attempts.attempt],
    }),
    index('artifacts_blob').on(table.sha256),
    index('artifacts_icon').on(table.icon).where(sql`${table.icon} IS NOT NULL`),
    index('artifacts_created').on(table.createdAt),
  ],
);
