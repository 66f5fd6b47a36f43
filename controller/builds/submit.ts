/** Makes a new build from a request. */
import type { BuildRequest, Inputs, Origin, OriginDetail, SubmitOptions } from '#contract';
import { may, needed, priorityMax, type Thing, takes } from '../access/rights.ts';
import { sha256Hex } from '../bytes.ts';
import { newId } from '../ids.ts';
import type { ProjectRow } from '../projects/find-project.ts';
import { type Refusal, refusal } from '../refusals.ts';
import type { Applied } from './apply.ts';
import { findNamed, insertBuild, type RequestName, type Submitter } from './insert.ts';
import { queueRank } from './queue-rank.ts';

/**
 * The build as a store is asked about it before it is added. `options`: null if it asks for no submission.
 */
interface ForStore extends Pick<BuildRequest, 'pool' | 'platform'> {
  app: BuildRequest['app'];
  projectId: string;
  trusted: boolean;
  options: SubmitOptions | null;
}

/**
 * Asks a store as the last step before a build is added. A repetition of a request asks no store. If the
 * store refuses, that is the answer to the request.
 */
export type AskStore = (build: ForStore) => Promise<{ ok: true; warnings: string[] } | Refusal>;

/**
 * Refused: `blob_not_stored`, `idempotency_mismatch`, `project_deleted`, `too_many`, `number_not_seeded` for
 * an app that has no counter, and `forbidden` for a priority that the key may not give, a build that is to be
 * trusted more than its key, a VM that the key may not have kept, or a store that it may not submit to.
 */
export async function submitBuild(
  env: Env,
  request: BuildRequest,
  project: ProjectRow,
  submitter: Submitter,
  now: number,
  askStore?: AskStore,
): Promise<Applied> {
  const { source, command, profile, artifacts, project: named, idempotencyKey, origin = {}, ...given } = request;
  const {
    group,
    fingerprint,
    cancelSuperseded,
    trusted: askedTrust,
    app,
    projectRoot,
    image,
    keepVm,
    submit,
    ...others
  } = given;
  const trusted = submitter.rights.trusted && askedTrust !== false;
  const thing = { projectId: project.id, pool: request.pool, trusted };
  const refused = whyForbidden(request, submitter, thing);
  if (refused) return refused;
  const { env: variables, secretEnv, secretFiles, ...rest } = others;
  const inputs: Inputs = {
    env: { ...variables, ...secretEnv },
    secretNames: secretEnv && Object.keys(secretEnv),
    secretFiles,
  };
  const isGiven = Object.keys(inputs.env).length + Object.keys(secretFiles).length > 0;
  const name = idempotencyKey === undefined ? null : await nameOf(request, project, idempotencyKey, submitter);
  const earlier = askStore && name && (await findNamed(env, name));
  if (earlier) return earlier;
  const asked = await askStore?.({ ...thing, platform: request.platform, app, options: submit ?? null });
  if (asked && !asked.ok) return asked;
  return insertBuild(
    env,
    {
      ...rest,
      id: newId('b', now),
      command: command ?? null,
      profile: profile ?? null,
      projectRoot: projectRoot ?? null,
      appId: app?.id ?? null,
      appVersion: app?.version ?? null,
      appBuildNumber: app?.buildNumber ?? null,
      projectId: project.id,
      project: named === undefined ? null : project.name,
      trusted,
      usesSecrets: trusted && may(submitter, 'secrets.use', thing),
      cacheMode: trusted && may(submitter, 'caches.write', thing) ? 'write' : 'none',
      image: image ?? project.image,
      keepMs: keepVm?.onFailureMs ?? null,
      groupName: group ?? null,
      fingerprint: fingerprint ?? null,
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
    {
      origin: detailOf(origin),
      ownSourceAlone: !submitter.rights.trusted,
      superseding: cancelSuperseded ? submitter.rights : undefined,
      submit: submit && { options: submit, warnings: asked?.warnings ?? [] },
    },
  );
}

/** Says why the key may not make this build, which would be `thing`. Null if it may. Pure. */
function whyForbidden(
  { trusted: askedTrust, priority, keepVm, submit }: BuildRequest,
  submitter: Submitter,
  thing: Thing & { trusted: boolean },
): Refusal | null {
  const { trusted } = thing;
  const forbidden = (message: string) => refusal('forbidden', message);
  if (askedTrust === true && !trusted)
    return forbidden('trusted: this key makes untrusted builds alone; leave the field out');
  const highest = priorityMax(submitter.rights);
  if (priority > highest)
    return forbidden(`priority: this key may give at most ${highest}; an admin can make one that may give more`);
  if (priority > 0 && !trusted) return forbidden('priority: a build that is not trusted has 0 at most');
  if (keepVm && !trusted)
    return forbidden('keepVm: the VM of a build that is not trusted is never kept; leave the field out');
  if (keepVm && !may(submitter, 'keep', thing))
    return forbidden(`keepVm: this needs ${needed('keep')}; leave the field out, or ask an admin for one`);
  if (submit && !trusted) return forbidden('submit: a build that is not trusted is never submitted to a store');
  if (submit && !takes(thing, 'stores'))
    return forbidden('submit: builds of the project default go to no store; name another project');
  if (submit && !may(submitter, 'stores', thing)) return forbidden(`submit: this needs ${needed('stores')}`);
  return null;
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
