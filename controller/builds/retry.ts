/**
 * Makes a new build as the retry of a build that has ended. A build that has ended never changes, so the
 * retry is a build of its own that names the old one. It has a build number of its own.
 *
 * Invariant: a retry is a submission by the key that asks. It has at most the rights that this key has now,
 * and at most those of the old build. It repeats no fingerprint that another key has claimed. It asks a store
 * for the same as the old build. If it does not, its answer says so.
 */
import { type App, CACHE_MODES, type CacheMode, type RetryRequest, type SubmitOptions } from '#contract';
import { may, priorityMax, type Thing } from '../access/rights.ts';
import { newId } from '../ids.ts';
import { DEFAULT_PROJECT_ID, findProject, noProject } from '../projects/find-project.ts';
import { refusal } from '../refusals.ts';
import { readInputs } from '../secrets/read-inputs.ts';
import type { Applied } from './apply.ts';
import { type Beside, findNamed, insertBuild, type Submitter } from './insert.ts';
import { queueRank } from './queue-rank.ts';
import { type BuildRow, findSubmit } from './rows.ts';
import type { AskStore } from './submit.ts';
import { isFinal } from './transitions.ts';

/**
 * Refused: `illegal_transition`, `forbidden` for the inputs of others, `inputs_gone`, `blob_not_stored`,
 * `idempotency_mismatch`, `not_found` if the key may not submit to the project and pool of the build, and
 * what `askStore` refuses.
 */
export async function retryBuild(
  env: Env,
  build: BuildRow,
  { idempotencyKey }: RetryRequest,
  submitter: Submitter,
  now: number,
  askStore?: AskStore,
): Promise<Applied> {
  if (!isFinal(build.status))
    return refusal('illegal_transition', `only a build that has ended can be retried; this one is ${build.status}`);
  const project = await findProject(env, build.projectId || build.project || DEFAULT_PROJECT_ID);
  if (!project) return noProject(build.project);
  const thing = { projectId: project.id, pool: build.pool, trusted: build.trusted };
  if (!may(submitter, 'builds.submit', thing)) return refusal('not_found', `there is no build ${build.id}`);
  const request = { retryOf: build.id };
  const name = idempotencyKey ? { submitter, project, name: idempotencyKey, request, earlierHash: null } : null;
  // A repetition gets its build even if that build could no longer be made.
  const earlier = name && (await findNamed(env, name));
  if (earlier) return earlier;
  const given = await readInputs(env, build.id);
  if (!given.ok) return given;
  if (given.inputs && !mayPassOn(submitter, build)) return foreignInputs;
  const { platform, command, profile, sourceSha256, artifactGlobs, timeouts, pool, labels } = build;
  const { image, projectRoot, appId, appVersion, appBuildNumber } = build;
  const { maxAttempts, groupName, repository, branch, commitSha, pullRequest } = build;
  // Otherwise the build cache would still offer the fingerprint after the key that claimed it is revoked.
  const fingerprint = build.createdByKey === submitter.id ? build.fingerprint : null;
  const lower = lowerOf(submitter, build, thing);
  const priority = Math.min(build.priority, priorityMax({ ...submitter.rights, trusted: lower.trusted }));
  const options = await findSubmit(env, build.id);
  const maySubmit = lower.trusted && may(submitter, 'stores', thing);
  const app = appId === null ? undefined : appOf(appId, appVersion, appBuildNumber);
  const { trusted } = lower;
  const asked = await askStore?.({ ...thing, trusted, platform, app, options: maySubmit ? options : null });
  if (asked && !asked.ok) return asked;
  return insertBuild(
    env,
    {
      ...{ platform, command, profile, sourceSha256, artifactGlobs, timeouts, pool, labels, priority, maxAttempts },
      ...{ image, projectRoot, appId, appVersion, appBuildNumber },
      ...{ groupName, fingerprint, repository, branch, commitSha, pullRequest },
      ...lower,
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
    { submit: options && submitOf(options, maySubmit ? (asked?.warnings ?? []) : null) },
  );
}

const appOf = (id: string, version: string | null, buildNumber: number | null): App => ({
  id,
  ...(version !== null && { version }),
  ...(buildNumber !== null && { buildNumber }),
});

/** `warnings` is null if the key may not submit. The retry is still built, and gives this reason. */
const submitOf = (options: SubmitOptions, warnings: string[] | null): Beside['submit'] =>
  warnings ? { options, warnings } : { options, warnings: [], reason: 'right_gone', storeWords: MAY_NOT_SUBMIT };

const MAY_NOT_SUBMIT =
  'The build that is repeated asks for a submission, and the key that repeats it does not have the right `stores` ' +
  'for the project and pool. So nothing is submitted after this build. It can be submitted with a key that may.';

/** Trust, stored secrets, caches and the kept VM, as far as both the key and the old build have them. */
function lowerOf(submitter: Submitter, build: BuildRow, thing: Thing) {
  const trusted = build.trusted && submitter.rights.trusted;
  const mayWrite = trusted && may(submitter, 'caches.write', thing);
  return {
    trusted,
    usesSecrets: trusted && build.usesSecrets && may(submitter, 'secrets.use', thing),
    cacheMode: lowerMode(build.cacheMode, mayWrite ? 'write' : 'read'),
    keepMs: trusted && may(submitter, 'keep', thing) ? build.keepMs : null,
  };
}

const lowerMode = (one: CacheMode, other: CacheMode): CacheMode =>
  CACHE_MODES[Math.min(CACHE_MODES.indexOf(one), CACHE_MODES.indexOf(other))]!;

/**
 * Whether the retry may have the variables and secret files of the old build. If another lineage of keys
 * brought them, both this key and the old build must be trusted.
 */
const mayPassOn = ({ id, rootId, rights }: Submitter, { createdByKey, createdByRoot, trusted }: BuildRow): boolean =>
  // Rows of the former release do not have the root.
  (createdByRoot === null ? createdByKey === id : createdByRoot === rootId) || (rights.trusted && trusted);

const foreignInputs = refusal(
  'forbidden',
  'the build was given variables or secret files with another key, and that build or this key is not trusted. ' +
    'Submit the build anew with variables and files of your own.',
);
