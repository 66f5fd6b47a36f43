/**
 * Says in SQL what must still hold when something is added: to a project that is not deleted, by a key that
 * is not revoked. The statement that adds a row asks this itself, so that nothing changes in between. Pure.
 */
import { type SQL, sql } from 'drizzle-orm';

export const isLiveProject = (id: string): SQL =>
  sql`EXISTS (SELECT 1 FROM projects WHERE projects.id = ${id} AND projects.deleted_at IS NULL)`;

/** Not the opposite of {@link isLiveProject}: both are false for a project that never existed. */
export const isDeletedProject = (id: string): SQL =>
  sql`EXISTS (SELECT 1 FROM projects WHERE projects.id = ${id} AND projects.deleted_at IS NOT NULL)`;

/** ADMIN_KEY has no row, and is never revoked. */
export const isNotRevoked = (keyId: string): SQL =>
  sql`NOT EXISTS (SELECT 1 FROM keys WHERE keys.id = ${keyId} AND keys.revoked_at IS NOT NULL)`;
