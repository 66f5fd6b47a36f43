/** Defines workers, the pools that they serve, and the codes that enrol them. */
import { sql } from 'drizzle-orm';
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import type { Finding, ImageFetch, ImageOffer } from '#contract';
import { at } from './columns.ts';

export const workers = sqliteTable('workers', {
  id: text('id').primaryKey(),
  name: text('name').notNull().unique(),
  /**
   * The first of its pools. It leaves the table with the release after this one. `worker_pools` has all of
   * them.
   */
  pool: text('pool').notNull(),
  platforms: text('platforms', { mode: 'json' }).$type<('ios' | 'android')[]>().notNull(),
  /** The pairs of image and platform that it offers. None if its agent is older. */
  images: text('images', { mode: 'json' }).$type<ImageOffer[]>().notNull().default([]),
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
  /** From here to `findings`: the last status of the agent, and the last report of its doctor. */
  slotsInUse: integer('slots_in_use').notNull().default(0),
  vms: text('vms', { mode: 'json' }).$type<string[]>().notNull().default([]),
  agentVersion: text('agent_version'),
  /** Why its agent claims no builds although a slot is free. */
  notReady: text('not_ready'),
  /** Its progress with the images that its pools name. Null if its agent is older and fetches none. */
  imageFetches: text('image_fetches', { mode: 'json' }).$type<ImageFetch[]>(),
  findings: text('findings', { mode: 'json' }).$type<Finding[]>(),
  createdAt: at('created_at').notNull(),
  removedAt: at('removed_at'),
});

/** Groups of workers, made by admins. A pool's name is its id, so a pool cannot be renamed. */
export const pools = sqliteTable('pools', {
  name: text('name').primaryKey(),
  /** False: the Macs of others. No build there gets a stored secret or writes a cache. */
  trusted: integer('trusted', { mode: 'boolean' }).notNull().default(true),
  createdAt: at('created_at').notNull(),
});

export const workerPools = sqliteTable(
  'worker_pools',
  {
    workerId: text('worker_id')
      .notNull()
      .references(() => workers.id),
    pool: text('pool').notNull(),
    /** 0 for the pool that the worker serves first. */
    rank: integer('rank').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.workerId, table.pool] }),
    index('worker_pools_pool').on(table.pool, table.workerId),
  ],
);

/** The images that the Macs of a pool should have, as an admin names them. */
export const poolImages = sqliteTable(
  'pool_images',
  {
    pool: text('pool')
      .notNull()
      .references(() => pools.name),
    /** The name under which the Macs offer it. */
    name: text('name').notNull(),
    reference: text('reference').notNull(),
    /** How many Macs of the pool may fetch it at once. */
    atOnce: integer('at_once').notNull(),
    setAt: at('set_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.pool, table.name] })],
);

/** The last turn of each worker to fetch an image of its pool (workers/image-turns.ts). */
export const imageTurns = sqliteTable(
  'image_turns',
  {
    workerId: text('worker_id')
      .notNull()
      .references(() => workers.id),
    name: text('name').notNull(),
    pool: text('pool').notNull(),
    reference: text('reference').notNull(),
    /** When the agent was given the turn, or last spoke of it. */
    heardAt: at('heard_at').notNull(),
    /** Null while it is the turn of this worker. */
    endedAt: at('ended_at'),
  },
  (table) => [
    primaryKey({ columns: [table.workerId, table.name] }),
    index('image_turns_pool').on(table.pool, table.name).where(sql`${table.endedAt} IS NULL`),
  ],
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
