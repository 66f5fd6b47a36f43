/** Asks the controller which stored secrets a build of this key would get. */
import type { UnseenSecrets } from '../../client/plan/plan.ts';
import type { ProjectClient } from '../../client/project-client.ts';

export const NO_SECRETS: UnseenSecrets = { variables: [], files: [] };

/** Null: builds of this key get none, because it does not have the right for them. */
export async function storedSecrets(
  client: ProjectClient,
  project: string,
  pool: string,
): Promise<UnseenSecrets | null> {
  const { rights } = await client.me();
  if (!rights?.may.includes('secrets.use')) return null;
  const stored = await client.secrets(project, pool);
  return {
    variables: stored.filter(({ path }) => path === null).map(({ name }) => name),
    files: stored.flatMap(({ path }) => path ?? []),
  };
}
