/**
 * Says which builds a key may read, as a condition for queries over builds.
 *
 * Invariant: it holds for exactly the builds for which {@link may} allows `builds.read`, without those of
 * deleted projects. Every query over builds that answers a caller uses it (test/owners.test.ts).
 */
import { eq, type SQL, sql } from 'drizzle-orm';
import { builds } from '../schema/index.ts';
import { type Holder, hasRight } from './rights.ts';

/** A row of the former release has the project id '' until the sweep finds it. Such a row counts as live. */
export const isOfLiveProject: SQL = sql`NOT EXISTS (
  SELECT 1 FROM projects WHERE projects.id = ${builds.projectId} AND projects.deleted_at IS NOT NULL)`;

export function readableBy(key: Holder): SQL {
  if (!hasRight(key, 'builds.read')) return sql`FALSE`;
  const { projects, pools, trusted } = key.rights;
  const conditions = [isOfLiveProject];
  if (projects !== '*') conditions.push(isAmong(sql`${builds.projectId}`, projects));
  if (pools !== '*') conditions.push(isAmong(sql`${builds.pool}`, pools));
  if (!trusted) conditions.push(eq(builds.trusted, false));
  return sql`(${sql.join(conditions, sql` AND `)})`;
}

/** One parameter, because D1 takes 100 and a key may have as many projects and pools. */
const isAmong = (column: SQL, list: readonly string[]): SQL =>
  sql`${column} IN (SELECT value FROM json_each(${JSON.stringify(list)}))`;
