/** Makes a new build, from a request or as the retry of a build that has ended. */
import type { BuildRequest } from '#contract';
import { sha256Hex } from '../bytes.ts';
import { newId } from '../ids.ts';
import { refusal } from '../refusals.ts';
import { openInputs, sealInputs } from '../secrets/inputs.ts';
import { type Applied, insertBuild } from './apply.ts';
import type { BuildRow } from './rows.ts';
import { isFinal } from './transitions.ts';

export async function submitBuild(env: Env, request: BuildRequest, keyId: string, now: number): Promise<Applied> {
  const { source, command, profile, platform, artifacts, project, idempotencyKey, ...others } = request;
  const { env: variables, secretFiles, ...rest } = others;
  const given = Object.keys(variables).length + Object.keys(secretFiles).length > 0;
  const id = newId('b', now);
  return insertBuild(env, {
    ...rest,
    id,
    status: 'queued',
    transitionId: id,
    command: command ?? null,
    profile: profile ?? null,
    project: project ?? null,
    platform,
    sourceSha256: source.sha256,
    sourceBlob: source.sha256,
    artifactGlobs: artifacts,
    inputs: given ? await sealInputs(env, id, { env: variables, secretFiles }) : null,
    queueRank: -request.priority,
    queuedAt: now,
    createdAt: now,
    createdByKey: keyId,
    idempotencyKey: idempotencyKey ?? null,
    requestHash: idempotencyKey ? await sha256Hex(JSON.stringify(request)) : null,
  });
}

/** A build that has ended never changes, so a retry is a new build that names the old one. */
export async function retryBuild(env: Env, build: BuildRow, keyId: string, now: number): Promise<Applied> {
  if (!isFinal(build.status))
    return refusal('illegal_transition', `only a build that has ended can be retried; this one is ${build.status}`);
  const id = newId('b', now);
  const { platform, command, profile, sourceSha256, artifactGlobs, timeouts, pool, project, labels } = build;
  const { priority, maxAttempts } = build;
  return insertBuild(env, {
    ...{
      platform,
      command,
      profile,
      sourceSha256,
      sourceBlob: sourceSha256,
      artifactGlobs,
      timeouts,
      pool,
      project,
      labels,
      priority,
      maxAttempts,
    },
    id,
    status: 'queued',
    transitionId: id,
    // Sealed anew, because sealed inputs are bound to the id of their build.
    inputs: build.inputs ? await sealInputs(env, id, await openInputs(env, build.id, build.inputs)) : null,
    queueRank: -priority,
    queuedAt: now,
    createdAt: now,
    createdByKey: keyId,
    retryOf: build.id,
  });
}
