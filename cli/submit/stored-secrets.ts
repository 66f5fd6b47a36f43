/** Asks the controller which stored secrets a build of this key would get. */
import type { Me } from '#contract';
import type { UnseenSecrets } from '../../client/plan/plan.ts';
import type { ProjectClient } from '../../client/project-client.ts';

export const NO_SECRETS: UnseenSecrets = { variables: [], files: [] };

/** Null: builds of this key get none, because it does not have the right for them. */
export async function storedSecrets(
  client: ProjectClient,
  { rights }: Me,
  project: string,
  pool: string,
): Promise<UnseenSecrets | null> {
  if (!rights?.may.includes('secrets.use')) return null;
  const stored = await client.secrets(project, pool);
  return {
    variables: stored.filter(({ path }) => path === null).map(({ name }) => name),
    files: stored.flatMap(({ path }) => path ?? []),
  };
}
