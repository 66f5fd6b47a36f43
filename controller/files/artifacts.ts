/**
 * Finds the artifacts of a build. Reads only: builds/apply.ts writes the rows, together with the report that
 * names them.
 */
import { and, asc, desc, eq } from 'drizzle-orm';
import type { Artifact } from '#contract';
import { openDatabase } from '../database.ts';
import { artifacts } from '../schema/index.ts';

type ArtifactRow = Pick<typeof artifacts.$inferSelect, 'name' | 'attempt' | 'sha256' | 'size' | 'app' | 'icon'>;

export const viewArtifact = ({ name, attempt, sha256, size, app, icon }: ArtifactRow): Artifact => ({
  ...{ name, attempt, sha256, size },
  app: app && { ...app, icon },
});

/** The artifacts of all attempts of a build. */
export async function listArtifacts(env: Env, buildId: string): Promise<Artifact[]> {
  const rows = await openDatabase(env)
    .select()
    .from(artifacts)
    .where(eq(artifacts.buildId, buildId))
    .orderBy(asc(artifacts.attempt), asc(artifacts.name));
  return rows.map(viewArtifact);
}

/** The artifact of this name: of the given attempt, else of the newest attempt that has one. */
export async function findArtifact(
  env: Env,
  buildId: string,
  name: string,
  attempt?: number,
): Promise<Artifact | null> {
  const ofAttempt = attempt === undefined ? undefined : eq(artifacts.attempt, attempt);
  const row = await openDatabase(env)
    .select()
    .from(artifacts)
    .where(and(eq(artifacts.buildId, buildId), eq(artifacts.name, name), ofAttempt))
    .orderBy(desc(artifacts.attempt))
    .get();
  return row ? viewArtifact(row) : null;
}
