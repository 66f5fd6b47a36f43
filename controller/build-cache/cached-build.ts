/**
 * Finds the build that a developer's machine may run instead of compiling one of the same fingerprint. Reads
 * only.
 *
 * Invariant: a build is offered only to a trusted key, and only if the build is trusted and its own key could
 * write the caches of the project and was not revoked. The submitter only claims the fingerprint, and an app
 * of the simulator can read the files of the person who runs it.
 */
import { and, desc, eq, isNotNull, sql } from 'drizzle-orm';
import type { CachedBuild, PLATFORMS } from '#contract';
import { readableBy } from '../access/readable-builds.ts';
import type { Holder } from '../access/rights.ts';
import { ATTEMPT_COLUMNS } from '../builds/rows.ts';
import { SHOWN_COLUMNS, viewBuild } from '../builds/views.ts';
import { openDatabase } from '../database.ts';
import { viewArtifact } from '../files/artifacts.ts';
import { artifacts, attempts, builds, keys } from '../schema/index.ts';

type Platform = (typeof PLATFORMS)[number];

/** The artifacts that a developer's machine can run: an app for the simulator, or one built for debugging. */
const RUNS_THERE: Record<Platform, ReturnType<typeof sql>> = {
  ios: sql`${artifacts.app} ->> 'kind' = 'app' AND ${artifacts.app} ->> 'signing' = 'simulator'`,
  android: sql`${artifacts.app} ->> 'kind' = 'apk' AND ${artifacts.app} ->> 'debuggable' = 1`,
};

/** The newest such build. Null if there is none, or the key is not trusted. */
export async function findCachedBuild(
  env: Env,
  projectId: string,
  { platform, fingerprint }: { platform: Platform; fingerprint: string },
  reader: Holder,
): Promise<CachedBuild | null> {
  if (!reader.rights.trusted) return null;
  const row = await openDatabase(env)
    .select({ build: SHOWN_COLUMNS, attempt: ATTEMPT_COLUMNS, artifact: artifacts, madeBy: keys.name })
    .from(builds)
    .innerJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .innerJoin(artifacts, and(eq(artifacts.buildId, builds.id), eq(artifacts.attempt, builds.attempt)))
    .innerJoin(keys, eq(keys.id, builds.createdByKey))
    .where(
      and(
        readableBy(reader),
        ...[eq(builds.projectId, projectId), eq(builds.platform, platform)],
        ...[eq(builds.fingerprint, fingerprint), isNotNull(builds.fingerprint)],
        ...[eq(builds.status, 'succeeded'), eq(builds.trusted, true), eq(builds.cacheMode, 'write')],
        sql`${keys.revokedAt} IS NULL`,
        RUNS_THERE[platform],
      ),
    )
    .orderBy(desc(builds.createdAt), desc(builds.id), artifacts.name)
    .limit(1)
    .get();
  if (!row) return null;
  const { build, attempt, artifact, madeBy } = row;
  return { build: viewBuild(build, attempt, reader), artifact: viewArtifact(artifact), madeBy };
}
