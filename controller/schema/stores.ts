/** Defines the keys of stores, and the submissions with them. */
import { sql } from 'drizzle-orm';
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core';
import { STORES, SUBMISSION_STATES, type SubmissionReason, type SubmitOptions } from '#contract';
import { builds } from './builds.ts';
import { at } from './columns.ts';
import { blobs } from './files.ts';
import { projects } from './projects.ts';

/** Keys of a project for a store. They never reach a build, so they are not among its `secrets`. */
export const storeKeys = sqliteTable(
  'store_keys',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id')
      .notNull()
      .references(() => projects.id),
    name: text('name').notNull(),
    store: text('store', { enum: STORES }).notNull(),
    /** The key id of App Store Connect, or the e-mail address of the service account. No secret. */
    identity: text('identity').notNull(),
    /** The apps that it may upload, and the pools whose builds may be uploaded with it. */
    apps: text('apps', { mode: 'json' }).$type<string[]>().notNull(),
    pools: text('pools', { mode: 'json' }).$type<string[]>().notNull(),
    /** Grows with each new value. */
    version: integer('version').notNull(),
    /** Names the key of INPUTS_KEY that sealed it. */
    keyId: text('key_id').notNull(),
    sealed: text('sealed').notNull(),
    /** The key that set the value, and when. */
    setBy: text('set_by').notNull(),
    setAt: at('set_at').notNull(),
  },
  (table) => [uniqueIndex('store_keys_name').on(table.projectId, table.name), index('store_keys_key').on(table.keyId)],
);

/** The submissions: each brings one artifact of a build to a store. */
export const submissions = sqliteTable(
  'submissions',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull(),
    buildId: text('build_id').notNull(),
    store: text('store', { enum: STORES }).notNull(),
    state: text('state', { enum: SUBMISSION_STATES }).notNull(),
    /** The last change that was written. The later statements of its batch depend on it. */
    transitionId: text('transition_id').notNull(),
    reason: text('reason').$type<SubmissionReason>(),
    storeWords: text('store_words'),
    warnings: text('warnings', { mode: 'json' }).$type<string[]>().notNull().default([]),
    attempt: integer('attempt').notNull(),
    artifact: text('artifact').notNull(),
    sha256: text('sha256').notNull(),
    size: integer('size').notNull(),
    /**
     * The same hash until the submission has ended. Until then retention keeps the file. The former release
     * knows no submissions and may remove the file, which sets this to null.
     */
    blob: text('blob').references(() => blobs.sha256, { onDelete: 'set null' }),
    /** As the agent has read them from the artifact: CFBundleVersion or versionCode is the build number. */
    appId: text('app_id').notNull(),
    version: text('version').notNull(),
    buildNumber: text('build_number').notNull(),
    /** A build number is unique in the store within this: the version for App Store Connect, '' for Play. */
    train: text('train').notNull(),
    options: text('options', { mode: 'json' }).$type<SubmitOptions>().notNull(),
    storeKeyId: text('store_key_id').notNull(),
    storeKeyVersion: integer('store_key_version').notNull(),
    sentBytes: integer('sent_bytes').notNull().default(0),
    createdByKey: text('created_by_key').notNull(),
    createdByRoot: text('created_by_root').notNull(),
    /** The name that the request gave itself. '' for the submission that the build itself asked for. */
    requestName: text('request_name'),
    createdAt: at('created_at').notNull(),
    updatedAt: at('updated_at').notNull(),
    /** It must end by this time. The sweep ends submissions that are long overdue. */
    endsBy: at('ends_by').notNull(),
    endedAt: at('ended_at'),
  },
  (table) => [
    // Two submissions never upload one number of an app.
    uniqueIndex('submissions_number')
      .on(table.store, table.appId, table.train, table.buildNumber)
      .where(sql`${table.state} NOT IN ('failed', 'cancelled')`),
    uniqueIndex('submissions_request')
      .on(table.buildId, table.createdByRoot, table.requestName)
      .where(sql`${table.requestName} IS NOT NULL`),
    index('submissions_build').on(table.buildId, table.createdAt),
    index('submissions_project').on(table.projectId, table.createdAt, table.id),
    index('submissions_unfinished')
      .on(table.endsBy)
      .where(sql`${table.state} IN ('waiting', 'uploading', 'processing')`),
    index('submissions_blob').on(table.blob).where(sql`${table.blob} IS NOT NULL`),
  ],
);

/** The timeline of a submission. */
export const submissionEvents = sqliteTable(
  'submission_events',
  {
    submissionId: text('submission_id')
      .notNull()
      .references(() => submissions.id, { onDelete: 'cascade' }),
    number: integer('number').notNull(),
    at: at('at').notNull(),
    state: text('state', { enum: SUBMISSION_STATES }).notNull(),
    says: text('says').notNull(),
  },
  (table) => [primaryKey({ columns: [table.submissionId, table.number] })],
);

/** The submission that a build asks for, and the reason if there is none. */
export const buildSubmits = sqliteTable('build_submits', {
  buildId: text('build_id')
    .primaryKey()
    .references(() => builds.id, { onDelete: 'cascade' }),
  options: text('options', { mode: 'json' }).$type<SubmitOptions>().notNull(),
  warnings: text('warnings', { mode: 'json' }).$type<string[]>().notNull(),
  /** Why nothing is submitted, or was not after the build had succeeded. */
  reason: text('reason').$type<SubmissionReason>(),
  storeWords: text('store_words'),
});

/**
 * Work on submissions that a change leaves for later, written in its own batch. The code that does the work
 * deletes the row. It is not in `outbox`, because the former release stops at kinds of work that it does not
 * know.
 */
export const submissionWork = sqliteTable(
  'submission_work',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    kind: text('kind', { enum: ['submit_build', 'cancel_submission', 'forget_submission'] }).notNull(),
    /** The id of the build for `submit_build`, else that of the submission. */
    target: text('target').notNull(),
    dueAt: at('due_at').notNull(),
    tries: integer('tries').notNull().default(0),
  },
  (table) => [index('submission_work_due').on(table.dueAt)],
);
