/** Makes a new build from a request. */
import type { BuildRequest, Inputs } from '#contract';
import { may, priorityMax } from '../access/rights.ts';
import { sha256Hex } from '../bytes.ts';
import { newId } from '../ids.ts';
import type { ProjectRow } from '../projects/find-project.ts';
import { refusal } from '../refusals.ts';
import type { Applied } from './apply.ts';
import { insertBuild, type RequestName, type Submitter } from './insert.ts';
import { queueRank } from './queue-rank.ts';

/**
 * Refused: `forbidden` for a priority that the key may not give, `blob_not_stored`, `idempotency_mismatch`.
 */
export async function submitBuild(
  env: Env,
  request: BuildRequest,
  project: ProjectRow,
  submitter: Submitter,
  now: number,
): Promise<Applied> {
  const highest = priorityMax(submitter.rights);
  if (request.priority > highest)
    return refusal(
      'forbidden',
      `priority: this key may give at most ${highest}; an admin can make one that may give more`,
    );
  const { source, command, profile, artifacts, project: named, idempotencyKey, ...others } = request;
  const { env: variables, secretEnv, secretFiles, ...rest } = others;
  const inputs: Inputs = {
    env: { ...variables, ...secretEnv },
    secretNames: secretEnv && Object.keys(secretEnv),
    secretFiles,
  };
  const isGiven = Object.keys(inputs.env).length + Object.keys(secretFiles).length > 0;
  const name = idempotencyKey === undefined ? null : await nameOf(request, project, idempotencyKey, submitter);
  return insertBuild(
    env,
    {
      ...rest,
      id: newId('b', now),
      command: command ?? null,
      profile: profile ?? null,
      projectId: project.id,
      project: named ?? null,
      trusted: submitter.rights.trusted,
      usesSecrets: may(submitter, 'secrets.use', { projectId: project.id, pool: request.pool }),
      sourceSha256: source.sha256,
      sourceBlob: source.sha256,
      artifactGlobs: artifacts,
      queueRank: queueRank(request.priority),
      queuedAt: now,
      createdAt: now,
      createdByKey: submitter.id,
      createdByRoot: submitter.rootId,
    },
    isGiven ? inputs : null,
    name,
  );
}

const nameOf = async (
  request: BuildRequest,
  project: ProjectRow,
  name: string,
  submitter: Submitter,
): Promise<RequestName> => ({
  submitter,
  project,
  name,
  request,
  earlierHash: await sha256Hex(JSON.stringify(request)),
});
