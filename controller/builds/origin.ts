/** Puts together where the source of a build comes from. Half of it is in the row of the build. Reads only. */
import { eq } from 'drizzle-orm';
import type { Origin, OriginDetail } from '#contract';
import { openDatabase } from '../database.ts';
import { buildOrigins } from '../schema/index.ts';
import type { BuildRow } from './rows.ts';

type Columns = Pick<BuildRow, 'repository' | 'branch' | 'commitSha' | 'pullRequest'>;

/** Pure. Null if nothing is known. */
export function originOf(
  { repository, branch, commitSha, pullRequest }: Columns,
  detail: OriginDetail | null,
): Origin | null {
  const origin: Origin = {
    ...(repository !== null && { repository }),
    ...(branch !== null && { branch }),
    ...(commitSha !== null && { commit: commitSha }),
    ...(pullRequest !== null && { pullRequest }),
    ...detail,
  };
  return Object.keys(origin).length > 0 ? origin : null;
}

export async function findOrigin(env: Env, build: BuildRow): Promise<Origin | null> {
  const row = await openDatabase(env)
    .select({ origin: buildOrigins.origin })
    .from(buildOrigins)
    .where(eq(buildOrigins.buildId, build.id))
    .get();
  return originOf(build, row?.origin ?? null);
}
