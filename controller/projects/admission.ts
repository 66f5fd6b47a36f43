/**
 * Says what must hold when a build is added, or when something is made of its artifact. Each is a condition
 * of the insertion itself, so that nothing can change in between. Reads only.
 */
import { type SQL, sql } from 'drizzle-orm';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { type AppKey, canBeFirst, isSeeded, notSeeded } from './build-numbers.ts';
import { isLiveProject, isNotRevoked } from './conditions.ts';

/** A condition of the insertion, and the refusal if it does not hold. */
export interface Admission {
  holds: SQL;
  otherwise: Refusal;
}

interface AskedOfArtifact {
  projectId: string;
  createdByKey: string;
  buildId: string;
  attempt: number;
  /** Its name and its bytes. */
  artifact: string;
  sha256: string;
}

/** The conditions for making something of an artifact. `gone`: the refusal if it is no longer kept. */
export const admissionsOfArtifact = (
  { projectId, createdByKey, buildId, attempt, artifact, sha256 }: AskedOfArtifact,
  project: string,
  gone: Refusal,
): Admission[] => [
  { holds: isLiveProject(projectId), otherwise: refusal('project_deleted', `project ${project} was deleted`) },
  // A revocation ends everything that the key has made, so the key may add nothing after it.
  { holds: isNotRevoked(createdByKey), otherwise: KEY_REVOKED },
  {
    holds: sql`EXISTS (SELECT 1 FROM builds WHERE id = ${buildId} AND status = 'succeeded' AND trusted)`,
    otherwise: refusal('not_found', `there is no build ${buildId}`),
  },
  {
    holds: sql`EXISTS (SELECT 1 FROM artifacts WHERE build_id = ${buildId} AND attempt = ${attempt}
      AND name = ${artifact} AND sha256 = ${sha256})`,
    otherwise: gone,
  },
];

const KEY_REVOKED = refusal('unauthorized', 'the key was revoked; ask an admin for a new one');

interface Asked {
  projectId: string;
  project: string;
  trusted: boolean;
  /** The key that asks. */
  keyId: string;
  platform: AppKey['platform'];
  /** The app, and the number that the project itself has, if the request names them. */
  appId?: string | null | undefined;
  appBuildNumber?: number | null | undefined;
}

export const admissionsOf = ({ projectId, project, trusted, keyId, ...asked }: Asked): Admission[] => [
  {
    holds: isLiveProject(projectId),
    otherwise: refusal('project_deleted', `project: ${project} was deleted; name another project`),
  },
  // A revocation cancels the builds of the key, so the key may add none after it.
  { holds: isNotRevoked(keyId), otherwise: KEY_REVOKED },
  ...(trusted ? [] : [untrustedHaveRoom(projectId, project)]),
  ...hasNumber(projectId, project, asked),
];

/** Without this condition a build with a named app would learn only on the Mac that it can have no number. */
function hasNumber(
  projectId: string,
  project: string,
  { platform, appId, appBuildNumber }: Pick<Asked, 'platform' | 'appId' | 'appBuildNumber'>,
): Admission[] {
  if (!appId || canBeFirst(appBuildNumber ?? 0)) return [];
  return [{ holds: isSeeded({ projectId, platform, appId }), otherwise: notSeeded({ project, platform, appId }) }];
}

/** Strangers must not fill the queue, so each project has a number of untrusted builds that may wait. */
const untrustedHaveRoom = (projectId: string, project: string): Admission => ({
  holds: sql`(SELECT coalesce(sum(queued), 0) FROM project_load WHERE project_id = ${projectId} AND trusted = 0)
    < (SELECT max_queued_untrusted FROM projects WHERE id = ${projectId})`,
  otherwise: refusal(
    'too_many',
    `project: as many untrusted builds of ${project} wait as its limit allows; ask again when some have begun`,
  ),
});

/** All of the conditions, for the statement that inserts. */
export const allOf = (admissions: readonly Admission[]): SQL =>
  sql.join(
    admissions.map(({ holds }) => sql`(${holds})`),
    sql` AND `,
  );

/** The refusal of the first condition that does not hold. Null if all hold by now. */
export async function whyNotAdmitted(env: Env, admissions: readonly Admission[]): Promise<Refusal | null> {
  // VALUES, because D1 takes at most five SELECTs in one compound statement.
  const each = admissions.map(({ holds }, index) => sql`(${index}, (${holds}))`);
  const failed = await openDatabase(env).get<{ place: number } | undefined>(
    sql`SELECT column1 AS place FROM (VALUES ${sql.join(each, sql`, `)}) WHERE NOT column2 ORDER BY column1 LIMIT 1`,
  );
  return failed ? admissions[failed.place]!.otherwise : null;
}
