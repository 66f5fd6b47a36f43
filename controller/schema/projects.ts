/**
 * Defines projects, how loaded they are, their stored secrets, the build numbers of their apps, and how long
 * their builds take.
 */
import { sql } from 'drizzle-orm';
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core';
import { PLATFORMS, type ProgressHistory, UNTRUSTED_QUEUED_USUAL } from '#contract';
import { at } from './columns.ts';

/** Boundaries between teams. An id is never used again. A name is used at the edge alone. */
export const projects = sqliteTable(
  'projects',
  {
    id: text('id').primaryKey(),
    name: text('name').notNull(),
    createdAt: at('created_at').notNull(),
    /** The first key of the lineage that made it. Null for a project that the migration made. */
    createdBy: text('created_by'),
    /** How many builds may be active at once. Null: as many as the Macs hold. */
    maxActive: integer('max_active'),
    /** How many untrusted builds may be queued at once. */
    maxQueuedUntrusted: integer('max_queued_untrusted').notNull().default(UNTRUSTED_QUEUED_USUAL),
    /** The name of the image of builds that ask for none. Null: the default of each Mac. */
    image: text('image'),
    /** Set first when the project is deleted. From then on nothing may be added to it. */
    deletedAt: at('deleted_at'),
  },
  (table) => [
    uniqueIndex('projects_name').on(table.name).where(sql`${table.deletedAt} IS NULL`),
    index('projects_created_by').on(table.createdBy, table.createdAt),
    index('projects_deleted').on(table.deletedAt).where(sql`${table.deletedAt} IS NOT NULL`),
  ],
);

/**
 * How many builds of a project wait and are active. Triggers of migration 0005 update it in the batch of each
 * change to a build, also under the former release. The sweep counts anew.
 */
export const projectLoad = sqliteTable(
  'project_load',
  {
    projectId: text('project_id').notNull(),
    trusted: integer('trusted', { mode: 'boolean' }).notNull(),
    pool: text('pool').notNull(),
    platform: text('platform', { enum: PLATFORMS }).notNull(),
    queued: integer('queued').notNull(),
    active: integer('active').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.projectId, table.trusted, table.pool, table.platform] }),
    index('project_load_pool').on(table.pool, table.platform),
  ],
);

/** Variables and files that are stored for the builds of a project in one pool. A value is never shown. */
export const secrets = sqliteTable(
  'secrets',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id')
      .notNull()
      .references(() => projects.id),
    pool: text('pool').notNull(),
    name: text('name').notNull(),
    /** Where the build finds it as a file. Null for a variable. */
    path: text('path'),
    /** Grows with each new value. */
    version: integer('version').notNull(),
    /** Names the key of INPUTS_KEY that sealed it. */
    keyId: text('key_id').notNull(),
    sealed: text('sealed').notNull(),
    /** The key that set the value, and when. */
    setBy: text('set_by').notNull(),
    setAt: at('set_at').notNull(),
    /** The builds that used it last, newest first. */
    usedBy: text('used_by', { mode: 'json' }).$type<string[]>().notNull().default([]),
    usedAt: at('used_at'),
  },
  (table) => [
    uniqueIndex('secrets_name').on(table.projectId, table.pool, table.name),
    index('secrets_key').on(table.keyId),
  ],
);

/**
 * The highest build number that an app has been given, or that somebody has set
 * (projects/build-numbers.ts). An app is its id on one platform.
 */
export const buildNumbers = sqliteTable(
  'build_numbers',
  {
    projectId: text('project_id')
      .notNull()
      .references(() => projects.id),
    platform: text('platform', { enum: PLATFORMS }).notNull(),
    appId: text('app_id').notNull(),
    value: integer('value').notNull(),
    /** The key that set it last. Null if none has: the app's own number of a build was the first one. */
    seededBy: text('seeded_by'),
    updatedAt: at('updated_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.projectId, table.platform, table.appId] })],
);

/**
 * How long the phases of a project's builds take (phase-history/phase-history.ts). A lost row only costs an
 * estimate.
 */
export const histories = sqliteTable(
  'histories',
  {
    /** Holds names in rows that the former release added after a rollback; nobody reads those. */
    projectId: text('project').notNull(),
    platform: text('platform', { enum: ['ios', 'android'] }).notNull(),
    /** '' for builds that have a command and no profile. */
    profile: text('profile').notNull(),
    history: text('history', { mode: 'json' }).$type<ProgressHistory>().notNull(),
    updatedAt: at('updated_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.projectId, table.platform, table.profile] }),
    index('histories_updated').on(table.updatedAt),
  ],
);
