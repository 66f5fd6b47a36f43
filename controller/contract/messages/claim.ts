/**
 * Defines how a worker gets a build, learns which attempts are current, and fetches the build's private
 * inputs.
 */
import { z } from 'zod';
import { CACHE_MODES, PLATFORMS } from '../closed-lists.ts';
import { attempt, bytes, durationMs, Id, lenient, Platforms, Sha256, Slots, SourcePath, time } from '../fields.ts';
import { Timeouts } from '../timeouts.ts';
import { App } from './build-numbers.ts';
import { ArtifactGlob } from './build-request.ts';
import { Deadline, Progress } from './builds.ts';
import { ImageIdentity, ImageOffers } from './images.ts';
import { Origin } from './origin.ts';
import { ProgressHistory } from './phase-history.ts';

export const ClaimRequest = z.object({
  /** Names one installation of the agent, which keeps it on its disk. */
  instanceId: Id,
  /** The agent writes it to its journal before the call. The same claim id gets the same assignment. */
  claimId: Id,
  /** The agent's present offer, as in its status. Older agents do not say it. */
  slots: lenient(Slots),
  platforms: lenient(Platforms),
  /** Older agents offer none. They get builds that ask for no image. */
  images: lenient(ImageOffers),
});
export type ClaimRequest = z.infer<typeof ClaimRequest>;

export const Assignment = z.object({
  buildId: z.string(),
  attempt,
  workerId: z.string(),
  claimId: z.string(),
  platform: z.enum(PLATFORMS),
  /**
   * The project, pool and trust of the build. An older controller does not say them. To the agent an absent
   * field means the strictest case: an untrusted build that writes no cache.
   */
  projectId: lenient(Id),
  pool: lenient(Id),
  trusted: lenient(z.boolean()),
  cacheMode: lenient(z.enum(CACHE_MODES)),
  /** The name of the image that its VM is cloned from. Absent: the default of its platform. */
  image: lenient(Id),
  /**
   * The image that the agent offered under this name. An agent that no longer has it hands the build back.
   * Older controllers do not say it; the agent then takes its current image.
   */
  imageIdentity: lenient(ImageIdentity),
  /** How long the request asks to keep the VM of a failed attempt. The agent's own limit may shorten it. */
  keepMs: lenient(durationMs),
  /** With a profile: the command that older agents run instead of it. */
  command: z.string(),
  profile: lenient(Id),
  projectRoot: lenient(SourcePath),
  app: lenient(App),
  origin: lenient(Origin),
  source: z.object({ sha256: Sha256, size: bytes }),
  artifactGlobs: z.array(ArtifactGlob),
  timeouts: Timeouts,
  /** Decides the partition rule: if true, the agent destroys its VM soon after the worker's deadline. */
  anotherAttemptPossible: z.boolean(),
  /** The phases of earlier builds of the same project, platform and profile. */
  history: lenient(ProgressHistory),
  claimedAt: time,
  /** How often the monitor beats. */
  beatIntervalMs: z.number().int().min(1),
  /** How often the agent beats. */
  nextMs: z.number().int().min(1),
  tokens: z.object({ vm: z.string(), run: z.string() }),
});
export type Assignment = z.infer<typeof Assignment>;

export const ClaimAnswer = z.object({
  assignment: Assignment.nullable(),
  /** When to ask again. */
  nextMs: z.number().int().min(1),
  /** Why this worker gets nothing, if the reason is not an empty queue. */
  reason: z.string().nullable(),
  /** True if the attempt of this claim id has ended: claim anew. Older controllers do not say it. */
  claimIsOver: z.boolean().optional(),
});
export type ClaimAnswer = z.infer<typeof ClaimAnswer>;

/** The attempts that a worker holds now. A restarted agent learns from it what is current. */
export const WorkerAttempts = z.object({
  attempts: z.array(
    z.object({
      buildId: z.string(),
      attempt,
      claimId: z.string(),
      status: z.enum(['assigned', 'building']),
      claimedAt: time,
      deadlines: z.array(Deadline),
      progress: Progress.nullable().default(null),
      phase: z.string().nullable().default(null),
      endExpectedAt: time.nullable().default(null),
      /** The name of its project, and whether it is trusted. Older controllers do not say it. */
      project: z.string().optional(),
      trusted: z.boolean().optional(),
    }),
  ),
});
export type WorkerAttempts = z.infer<typeof WorkerAttempts>;

export const Inputs = z.object({
  /** All variables, the secret ones too, because older agents know no other field. */
  env: z.record(z.string(), z.string()),
  /** The variables of `env` that are secret. Left out if the build's request did not tell them apart. */
  secretNames: z.array(z.string()).optional(),
  /** The contents in base64, by file name. */
  secretFiles: z.record(z.string(), z.string()).optional(),
});
export type Inputs = z.infer<typeof Inputs>;
