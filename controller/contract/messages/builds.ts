/** Defines a build, its attempts and its timeline, as the API shows them. */
import { z } from 'zod';
import { APP_KINDS, APP_SIGNINGS, BUILD_STATUSES, PLATFORMS, STAGES, VERDICTS } from '../closed-lists.ts';
import { bytes, count, line, Sha256, text, time } from '../fields.ts';
import { TELLING_LINE_MAX, TELLING_LINES_MAX } from '../sizes.ts';
import { BuildSubmit, Submission } from '../store-messages/submissions.ts';
import { Timeouts } from '../timeouts.ts';
import { AppId } from './build-numbers.ts';
import { ArtifactGlob } from './build-request.ts';
import { AttemptImage } from './images.ts';
import { Origin } from './origin.ts';

/** A code, and what it means in words for people. */
export const Explained = z.object({
  code: z.string(),
  title: z.string(),
  explanation: z.string(),
  advice: z.string(),
});
export type Explained = z.infer<typeof Explained>;

/** A known error found in the last lines of a failed build. */
export const FailureExplanation = z.object({
  id: text(64),
  /** `sentence` says why the build failed, `advice` what to do, each in one sentence. */
  sentence: text(1_000),
  advice: text(1_000),
  /** The line of the log that shows it. */
  line: text(500),
});
export type FailureExplanation = z.infer<typeof FailureExplanation>;

/** Lines of the log that most likely tell why a build with an unknown error failed. A guess. */
export const TellingLines = z.array(text(TELLING_LINE_MAX)).max(TELLING_LINES_MAX);
export type TellingLines = z.infer<typeof TellingLines>;

/** The known error, the telling lines, or both, that the agent found in the log of a failed build. */
export type ToldByLog = Partial<FailureExplanation> & { tellingLines?: TellingLines };

export function explanationIn({ id, sentence, advice, line }: ToldByLog): FailureExplanation | null {
  if (id === undefined || sentence === undefined) return null;
  return { id, sentence, advice: advice ?? '', line: line ?? '' };
}

export const VerdictView = Explained.extend({
  whose: z.enum(['user', 'infrastructure']),
  /** The step or health check that failed, if the verdict names one. */
  step: z.string().nullable(),
  /** The observation of the agent or the controller, in its own words. */
  message: z.string().nullable(),
  /** Set with `build_failed` if the log ends in a known error, or shows which phase has failed. */
  explained: FailureExplanation.nullable().default(null),
  /** With `build_failed`, if at most the phase of the error is known: a guess, in the log's own words. */
  tellingLines: TellingLines.default([]),
});
export type VerdictView = z.infer<typeof VerdictView>;

export const Build = z.object({
  id: z.string(),
  status: z.enum(BUILD_STATUSES),
  verdict: VerdictView.nullable(),
  cause: Explained.nullable(),
  /** The current attempt; 0 before the first claim. */
  attempt: z.number().int(),
  maxAttempts: z.number().int(),
  /** How many attempts were handed back. They do not count towards `maxAttempts`. */
  handBacks: z.number().int().default(0),
  workerId: z.string().nullable(),
  platform: z.enum(PLATFORMS),
  command: z.string().nullable(),
  profile: z.string().nullable(),
  /** The folder of the app in the source. Null: the root of the source. */
  projectRoot: z.string().nullable().default(null),
  /** The app, once the request or an attempt has named it. */
  app: z.object({ id: z.string(), version: z.string().nullable() }).nullable().default(null),
  /** The build number that it was given. All its attempts have it. */
  buildNumber: z.number().int().nullable().default(null),
  source: z.object({ sha256: z.string() }),
  artifactGlobs: z.array(ArtifactGlob),
  timeouts: Timeouts,
  pool: z.string(),
  /** The image that it asks for. Null: the default of the Mac. */
  image: z.string().nullable().default(null),
  /** The present name of its project. */
  project: z.string().nullable().default(null),
  projectId: z.string().default(''),
  /** False: it builds a stranger's source. Older controllers do not say it. */
  trusted: z.boolean().default(true),
  origin: Origin.nullable().catch(null).default(null),
  group: z.string().nullable().default(null),
  fingerprint: z.string().nullable().default(null),
  /** The newer build of its group that cancelled it, if the reader may see that build. */
  supersededBy: z.string().nullable().default(null),
  labels: z.record(z.string(), z.string()),
  priority: z.number().int(),
  retryOf: z.string().nullable(),
  /** The submission that it asks for. */
  submit: BuildSubmit.nullable().default(null),
  createdAt: time,
  queuedAt: time,
  startedAt: time.nullable(),
  endedAt: time.nullable(),
});
export type Build = z.infer<typeof Build>;

export const Progress = z.object({
  percent: z.number().int().min(0).max(100),
  origin: z.enum(['script', 'parsed', 'time']),
});
export type Progress = z.infer<typeof Progress>;

export const Deadline = z.object({
  name: z.enum(['heartbeatTimeout', 'workerTimeout', 'bootTimeout', 'noOutputTimeout', 'buildTimeout']),
  verdict: z.enum(VERDICTS),
  at: time,
});
export type Deadline = z.infer<typeof Deadline>;

/** The state of a running attempt, as the controller's BuildDeadline knows it. */
export const Live = z.object({
  attempt: z.number().int(),
  stage: z.enum(STAGES),
  phase: z.string().nullable(),
  progress: Progress.nullable(),
  /** When the command is expected to end, by earlier builds of the project. Null if there are none. */
  endExpectedAt: time.nullable().default(null),
  vmBeatAt: time.nullable(),
  agentBeatAt: time.nullable(),
  /** When the log last grew. It is later by the time in which the VM worked although it printed nothing. */
  outputGrewAt: time.nullable(),
  deadlines: z.array(Deadline),
});
export type Live = z.infer<typeof Live>;

/**
 * The data of an artifact that is an app. The agent has read it from the file, and the build has made the
 * file. So all of it is the claim of the author of the build. Null: the file does not say it, or not in a
 * form that the agent reads.
 */
export const ArtifactApp = z.object({
  platform: z.enum(PLATFORMS),
  kind: z.enum(APP_KINDS),
  /** CFBundleIdentifier, or the package. */
  id: AppId.nullable(),
  name: line(128).nullable(),
  /** CFBundleShortVersionString, or versionName. */
  version: line(64).nullable(),
  /** CFBundleVersion, or versionCode. */
  buildNumber: line(32).nullable(),
  /** MinimumOSVersion such as 15.1, or minSdkVersion such as 24. */
  minimumSystem: line(32).nullable(),
  signing: z.enum(APP_SIGNINGS).nullable(),
  /** Of the provisioning profile. */
  profileExpiresAt: time.nullable(),
  /** How many devices the provisioning profile names. Their ids stay in the file. */
  devices: count.nullable(),
  /** ITSAppUsesNonExemptEncryption, which TestFlight asks for. */
  usesNonExemptEncryption: z.boolean().nullable(),
  /** Android alone. */
  debuggable: z.boolean().nullable(),
  /** The SHA-256 of its icon, which `GET /api/builds/BUILD/icons/ARTIFACT` answers as a PNG. */
  icon: Sha256.nullable(),
});
export type ArtifactApp = z.infer<typeof ArtifactApp>;

export const Artifact = z.object({
  name: z.string(),
  attempt: z.number().int(),
  sha256: z.string(),
  size: bytes,
  /** Null: it is no app, or one that the agent could not read. */
  app: ArtifactApp.nullable().catch(null).default(null),
});
export type Artifact = z.infer<typeof Artifact>;

export const AttemptView = z.object({
  attempt: z.number().int(),
  workerId: z.string(),
  verdict: VerdictView.nullable(),
  /** True if the Mac could have no VM and handed the build back. */
  handedBack: z.boolean().default(false),
  cause: Explained.nullable(),
  exitCode: z.number().int().nullable(),
  /** The image that its VM was cloned from. Null if its agent does not say it. */
  image: AttemptImage.nullable().default(null),
  /** Until when its VM is kept for a look. Null if it is not kept, or not any more. */
  keptUntil: time.nullable().default(null),
  claimedAt: time,
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  /** From the passed deadline to the verdict. Only verdicts that a deadline gave have it. */
  latenessMs: z.number().nullable(),
  evidence: z.record(z.string(), z.unknown()).nullable(),
  /** The stored secrets that it received. The name is null once the secret was removed. */
  secrets: z.array(z.object({ id: z.string(), name: z.string().nullable(), version: z.number().int() })).default([]),
});
export type AttemptView = z.infer<typeof AttemptView>;

export const TimelineEvent = z.object({
  type: z.string(),
  attempt: z.number().int(),
  at: time,
  detail: z.record(z.string(), z.unknown()),
});
export type TimelineEvent = z.infer<typeof TimelineEvent>;

/** The place of a queued build. Builds of other projects are only counted. */
export const QueuePlace = z.object({
  /** How many builds are taken before it, if none of the active builds ends meanwhile. */
  ahead: count,
  /** By how long earlier builds took. Null as soon as anything that matters is unknown. */
  startExpectedAt: time.nullable(),
});
export type QueuePlace = z.infer<typeof QueuePlace>;

export const BuildDetail = Build.extend({
  attempts: z.array(AttemptView),
  events: z.array(TimelineEvent),
  artifacts: z.array(Artifact),
  /** Newest first. */
  submissions: z.array(Submission).default([]),
  live: Live.nullable(),
  /** Why a queued build does not run yet, or a running one does not build yet. */
  waitingFor: z.string().nullable(),
  /** Null if it is not queued. */
  queue: QueuePlace.nullable().default(null),
});
export type BuildDetail = z.infer<typeof BuildDetail>;

export const BuildList = z.object({
  builds: z.array(Build.extend({ live: Live.nullable().optional() })),
  nextCursor: z.string().nullable(),
});
export type BuildList = z.infer<typeof BuildList>;

/** The build that a developer's machine runs instead of compiling one of the same fingerprint. */
export const CachedBuild = z.object({
  build: Build,
  artifact: Artifact,
  /** The name of the key that made the build. */
  madeBy: z.string(),
});
export type CachedBuild = z.infer<typeof CachedBuild>;

/** Null: there is no such build, or the key gets none. */
export const CachedBuildAnswer = z.object({ cached: CachedBuild.nullable() });
