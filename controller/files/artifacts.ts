/** What a build has left, for reading. builds.ts writes the rows, together with the report that names them. */
import { and, asc, desc, eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import type { Artifact } from '#contract';
import { artifacts, builds } from '../schema.ts';

const SHOWN = { name: artifacts.name, attempt: artifacts.attempt, sha256: artifacts.sha256, size: artifacts.size };

/** Of all attempts. Null: there is no such build. */
export async function listArtifacts(env: Env, buildId: string): Promise<Artifact[] | null> {
  const db = drizzle(env.DB);
  const [build, rows] = await db.batch([
    db.select({ id: builds.id }).from(builds).where(eq(builds.id, buildId)),
    db
      .select(SHOWN)
      .from(artifacts)
      .where(eq(artifacts.buildId, buildId))
      .orderBy(asc(artifacts.attempt), asc(artifacts.name)),
  ]);
  return build.length === 0 ? null : rows;
}

/** The newest attempt's that has one of this name, unless told. */
export async function findArtifact(
  env: Env,
  buildId: string,
  name: string,
  attempt?: number,
): Promise<Artifact | null> {
  const ofAttempt = attempt === undefined ? undefined : eq(artifacts.attempt, attempt);
  const row = await drizzle(env.DB)
    .select(SHOWN)
    .from(artifacts)
    .where(and(eq(artifacts.buildId, buildId), eq(artifacts.name, name), ofAttempt))
    .orderBy(desc(artifacts.attempt))
    .get();
  return row ?? null;
}
