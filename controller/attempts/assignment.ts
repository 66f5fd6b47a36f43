/** Makes the assignment that a worker gets for its claim. */
import {
  AFTERMATH_MS,
  type App,
  type Assignment,
  agentIntervalMs,
  beatIntervalMs,
  type ImageIdentity,
  limitOrDefaultMs,
} from '#contract';
import { signToken } from '../access/tokens.ts';
import { type AttemptRow, type BuildRow, findOrigin } from '../builds/rows.ts';
import { isAttemptLeft } from '../builds/transitions.ts';
import { openBlobRow } from '../files/blobs.ts';
import { readHistory } from '../phase-history/phase-history.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { iso } from '../times.ts';

/**
 * A token outlives the longest attempt by the aftermath, and by half an hour in which the controller may be
 * away.
 */
export const TOKEN_SLACK_MS = AFTERMATH_MS + 30 * 60_000;

/** Refused: `blob_not_stored` if the source is no longer stored. */
export async function assignmentOf(
  env: Env,
  build: BuildRow,
  attempt: Pick<AttemptRow, 'attempt' | 'workerId' | 'claimId' | 'claimedAt' | 'image'>,
): Promise<{ ok: true; assignment: Assignment } | Refusal> {
  const { timeouts, sourceSha256 } = build;
  const source = await openBlobRow(env, sourceSha256);
  if (!source) return refusal('blob_not_stored', `the source of build ${build.id} is no longer stored`);
  const [history, origin] = await Promise.all([readHistory(env, build), findOrigin(env, build)]);
  const claims = {
    buildId: build.id,
    attempt: attempt.attempt,
    workerId: attempt.workerId,
    expiresAt: attempt.claimedAt + limitOrDefaultMs(timeouts, 'buildTimeoutMs') + TOKEN_SLACK_MS,
  };
  const [vm, run] = await Promise.all([
    signToken(env, { kind: 'vm', ...claims }),
    signToken(env, { kind: 'run', ...claims }),
  ]);
  const assignment: Assignment = {
    buildId: build.id,
    attempt: attempt.attempt,
    workerId: attempt.workerId,
    claimId: attempt.claimId,
    platform: build.platform,
    projectId: build.projectId || undefined,
    pool: build.pool,
    trusted: build.trusted,
    cacheMode: build.cacheMode,
    image: attempt.image?.name,
    imageIdentity: attempt.image ? identityOf(attempt.image) : undefined,
    keepMs: build.trusted ? (build.keepMs ?? undefined) : undefined,
    command: commandOf(build),
    profile: build.profile ?? undefined,
    projectRoot: build.projectRoot ?? undefined,
    app: appOf(build),
    origin: origin ?? undefined,
    source: { sha256: sourceSha256, size: source.size },
    artifactGlobs: build.artifactGlobs,
    timeouts,
    anotherAttemptPossible: isAttemptLeft({ ...build, attempt: attempt.attempt }),
    history: history ?? undefined,
    claimedAt: iso(attempt.claimedAt),
    beatIntervalMs: beatIntervalMs(timeouts),
    nextMs: agentIntervalMs(timeouts),
    tokens: { vm, run },
  };
  return { ok: true, assignment };
}

const identityOf = ({ digest, provisioned }: ImageIdentity): ImageIdentity => ({ digest, provisioned });

function appOf({ appId, appVersion, appBuildNumber }: BuildRow): App | undefined {
  if (appId === null) return undefined;
  return {
    id: appId,
    ...(appVersion !== null && { version: appVersion }),
    ...(appBuildNumber !== null && { buildNumber: appBuildNumber }),
  };
}

/**
 * An agent that does not know profiles runs EAS's own local build. The contract allows only profile names
 * that need no quoting.
 */
const commandOf = ({ command, profile, platform, projectRoot }: BuildRow): string =>
  command ??
  `${projectRoot === null ? '' : `cd -- '${projectRoot.replaceAll("'", "'\\''")}' && `}` +
    `eas build --local --non-interactive --platform ${platform} --profile ${profile}`;
