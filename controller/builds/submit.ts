/** Makes a new build, from a request or as the retry of a build that has ended. */
import type { BuildRequest, Inputs, Origin, OriginDetail, RetryRequest } from '#contract';
import { may } from '../access/rights.ts';
import { sha256Hex } from '../bytes.ts';
import { newId } from '../ids.ts';
import { DEFAULT_PROJECT_ID, findProject, noProject, type ProjectRow } from '../projects/find-project.ts';
import { refusal } from '../refusals.ts';
import { readInputs } from '../secrets/read-inputs.ts';
import type { Applied } from './apply.ts';
import { findNamed, insertBuild, type RequestName, type Submitter } from './insert.ts';
import { queueRank } from './queue-rank.ts';
import type { BuildRow } from './rows.ts';
import { isFinal } from './transitions.ts';

/**
 * Refused: `blob_not_stored`, `idempotency_mismatch`, `project_deleted`, `too_many`, and `forbidden` for a
 * build that is to be trusted more than its key.
 */
export async function submitBuild(
  env: Env,
  request: BuildRequest,
  project: ProjectRow,
  submitter: Submitter,
  now: number,
): Promise<Applied> {
  const { source, command, profile, artifacts, project: named, idempotencyKey, origin = {}, ...given } = request;
  const { group, cancelSuperseded, trusted: asked, ...others } = given;
  const trusted = submitter.rights.trusted && asked !== false;
  if (asked === true && !trusted)
    return refusal('forbidden', 'trusted: this key makes untrusted builds alone; leave the field out');
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
      trusted,
      usesSecrets: trusted && may(submitter, 'secrets.use', { projectId: project.id, pool: request.pool }),
      groupName: group ?? null,
      ...columnsOf(origin),
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
    { origin: detailOf(origin), superseding: cancelSuperseded ? submitter.rights : undefined },
  );
}

/** The part of the origin that filters ask for. */
const columnsOf = ({ repository, branch, commit, pullRequest }: Origin) => ({
  repository: repository ?? null,
  branch: branch ?? null,
  commitSha: commit ?? null,
  pullRequest: pullRequest ?? null,
});

/** The rest of the origin. Undefined if it has no more. */
function detailOf({ repository, branch, commit, pullRequest, ...detail }: Origin): OriginDetail | undefined {
  return Object.keys(detail).length > 0 ? detail : undefined;
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

/**
 * A build that has ended never changes, so a retry is a new build that names the old one. It is given all
 * that the old one was given. Refused: `illegal_transition`, `inputs_gone`, `blob_not_stored`,
 * `idempotency_mismatch`.
 */
export async function retryBuild(
  env: Env,
  build: BuildRow,
  { idempotencyKey }: RetryRequest,
  submitter: Submitter,
  now: number,
): Promise<Applied> {
  if (!isFinal(build.status))
    return refusal('illegal_transition', `only a build that has ended can be retried; this one is ${build.status}`);
  const request = { retryOf: build.id };
  const project = await findProject(env, build.projectId || build.project || DEFAULT_PROJECT_ID);
  if (!project) return noProject(build.project);
  const name = idempotencyKey ? { submitter, project, name: idempotencyKey, request, earlierHash: null } : null;
  // A repetition gets its build even if that build could not be made any more.
  const earlier = name && (await findNamed(env, name));
  if (earlier) return earlier;
  const given = await readInputs(env, build.id);
  if (!given.ok) return given;
  const { platform, command, profile, sourceSha256, artifactGlobs, timeouts, pool, labels } = build;
  const { priority, maxAttempts, groupName, repository, branch, commitSha, pullRequest } = build;
  return insertBuild(
    env,
    {
      ...{ platform, command, profile, sourceSha256, artifactGlobs, timeouts, pool, labels, priority, maxAttempts },
      ...{ groupName, repository, branch, commitSha, pullRequest },
      id: newId('b', now),
      projectId: project.id,
      project: build.project,
      sourceBlob: sourceSha256,
      queueRank: queueRank(priority),
      queuedAt: now,
      createdAt: now,
      createdByKey: submitter.id,
      createdByRoot: submitter.rootId,
      retryOf: build.id,
    },
    given.inputs,
    name,
  );
}
