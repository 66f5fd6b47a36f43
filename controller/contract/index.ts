/**
 * The contract between the controller and everything that talks to it: every message as a zod schema whose type has
 * the same name, and the constants both sides need. Imports zod alone; the one file of the controller that the agent
 * may import (as `#contract`). Agents in the field are older than the controller: add, never change.
 *
 * Times are ISO 8601 UTC strings, names that end in `Ms` are milliseconds, sizes and offsets are bytes.
 */
import { z } from 'zod';

/** Sent by the agent with each call as `X-Tartbeat-Contract`; an agent below the minimum is told to update. */
export const CONTRACT_VERSION = 1;
export const CONTRACT_VERSION_MIN = 1;
export const CONTRACT_HEADER = 'X-Tartbeat-Contract';

// ── Closed lists ─────────────────────────────────────────────────────────────────────────────────────────────────

export const BUILD_STATUSES = ['queued', 'assigned', 'building', 'succeeded', 'failed', 'cancelled'] as const;
export type BuildStatus = (typeof BUILD_STATUSES)[number];

export const PLATFORMS = ['ios', 'android'] as const;

/** What the agent is doing with the attempt. Set by the agent alone; decides which clocks run. */
export const STAGES = ['booting', 'checking', 'building', 'collecting'] as const;
export type Stage = (typeof STAGES)[number];

export const VERDICTS = [
  'build_failed',
  'build_timeout',
  'no_output',
  'source_invalid',
  'artifact_missing',
  'cancelled',
  'queue_expired',
  'vm_silent',
  'worker_lost',
  'boot_timeout',
  'vm_start_failed',
  'health_check_failed',
  'vm_exited',
  'worker_restarted',
  'worker_stopped',
  'transfer_failed',
] as const;
export type Verdict = (typeof VERDICTS)[number];

/** The verdicts that an agent may report; all others are the controller's to say. */
export const AGENT_VERDICTS = [
  'build_failed',
  'source_invalid',
  'artifact_missing',
  'worker_lost',
  'vm_start_failed',
  'health_check_failed',
  'vm_exited',
  'worker_restarted',
  'worker_stopped',
  'transfer_failed',
] as const satisfies readonly Verdict[];
export type AgentVerdict = (typeof AGENT_VERDICTS)[number];

export const CAUSES = [
  'vm_frozen',
  'monitor_died',
  'vm_network_down',
  'disk_full',
  'out_of_memory',
  'vm_exited',
  'host_asleep',
  'host_network_down',
  'host_disk_full',
  'unknown',
] as const;
export type Cause = (typeof CAUSES)[number];

export const HEALTH_CHECK_IDS = [
  'vm_exists',
  'vm_address',
  'vm_identity',
  'ssh',
  'disk_space',
  'monitor',
  'curl',
  'controller',
  'clock',
] as const;
export type HealthCheckId = (typeof HEALTH_CHECK_IDS)[number];

export const ERROR_CODES = [
  'invalid_request',
  'unauthorized',
  'forbidden',
  'not_found',
  'stale_attempt',
  'attempt_ended',
  'illegal_transition',
  'worker_in_use',
  'artifact_not_stored',
  'blob_not_stored',
  'upload_incomplete',
  'idempotency_mismatch',
  'wrong_offset',
  'hash_mismatch',
  'too_large',
  'log_sealed',
  'contract_too_old',
  'rate_limited',
  'unavailable',
  'internal',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export const WORKER_STATES = ['offline', 'paused', 'quarantined', 'cleaning', 'busy', 'idle'] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

// ── Limits ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** One upload request. Cloudflare takes 100 MB a request; the rest is head room for what surrounds the body. */
export const BLOB_MAX_BYTES = 95 * 1024 * 1024;
/** Of an upload in parts: all but the last are this long. Small enough that one lost part costs little, of 10,000 at most. */
export const UPLOAD_PART_BYTES = 16 * 1024 * 1024;
export const UPLOAD_PARTS_MAX = 10_000;
export const UPLOAD_MAX_BYTES = UPLOAD_PART_BYTES * UPLOAD_PARTS_MAX;
/** On each part: the SHA-256 of its bytes, in lower-case hex. */
export const PART_SHA256_HEADER = 'X-Part-SHA256';
/** One append to a log: well below a Durable Object's memory, large enough for a 20 MB/s burst at two a second. */
export const LOG_APPEND_MAX_BYTES = 1024 * 1024;
export const ARTIFACTS_MAX = 200;
/** After its end an attempt may append to its own log and post one evidence report for this long. */
export const AFTERMATH_MS = 35 * 60_000;
/** How often an agent beats and polls while the controller cannot push. */
export const AGENT_INTERVAL_MS = 4_000;
const DAY_MS = 86_400_000;

/**
 * The partition rule. With another attempt possible, an agent that cannot renew destroys its VM this long after the
 * worker's deadline (60 s by default); the build is claimable again a little later (75 s), so two VMs never build it at once.
 */
export const partitionGraceMs = (workerTimeoutMs: number) => Math.min(60_000, Math.round(workerTimeoutMs / 2));
export const requeueHoldMs = (workerTimeoutMs: number) => Math.min(75_000, Math.round(workerTimeoutMs * 0.625));

/** How often the monitor beats, and how often the agent: two lost beats must not be a verdict. */
export const beatIntervalMs = ({ heartbeatTimeoutMs }: Pick<Timeouts, 'heartbeatTimeoutMs'>) =>
  Math.max(1, Math.round((heartbeatTimeoutMs ?? DEFAULT_TIMEOUTS.heartbeatTimeoutMs) / 4));
export const agentIntervalMs = ({
  heartbeatTimeoutMs,
  workerTimeoutMs,
}: Pick<Timeouts, 'heartbeatTimeoutMs' | 'workerTimeoutMs'>) =>
  Math.max(
    1,
    Math.min(AGENT_INTERVAL_MS, ...[heartbeatTimeoutMs, workerTimeoutMs].map((ms) => Math.round((ms ?? DAY_MS) / 8))),
  );

// ── Building blocks ──────────────────────────────────────────────────────────────────────────────────────────────

const time = z.iso.datetime();
const id = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 characters of A-Z a-z 0-9 . _ -');
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits');
const attempt = z.number().int().min(1).max(1_000);
const text = (max: number) => z.string().max(max);
/** Goes to a shell, which cannot take a NUL. */
const shellText = (max: number) =>
  text(max).refine((value) => !value.includes('\0'), 'must not contain a NUL character');
const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const durationMs = z
  .number()
  .int()
  .min(0)
  .max(30 * DAY_MS);

/** A relative path below the source root, with no way out of it. */
export const ArtifactName = z
  .string()
  .min(1)
  .max(512)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused here
  .refine((name) => !/[\x00-\x1f\x7f\\]/.test(name), 'must not contain control characters or backslashes')
  .refine(
    (name) => name.split('/').every((part) => part !== '' && part !== '.' && part !== '..'),
    'must be a relative path without empty, "." or ".." parts',
  );

/** A field that is broken is dropped, never the message: silence must mean silence, and a result must arrive. */
const lenient = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

/** The limits of one build's silence. In D1, never through the API, one may be null: off. */
export const Timeouts = z.object({
  heartbeatTimeoutMs: durationMs.nullable(),
  workerTimeoutMs: durationMs.nullable(),
  bootTimeoutMs: durationMs.nullable(),
  noOutputTimeoutMs: durationMs.nullable(),
  buildTimeoutMs: durationMs.nullable(),
  queueTimeoutMs: durationMs.nullable(),
});
export type Timeouts = z.infer<typeof Timeouts>;

export const DEFAULT_TIMEOUTS = {
  heartbeatTimeoutMs: 120_000,
  workerTimeoutMs: 120_000,
  bootTimeoutMs: 600_000,
  noOutputTimeoutMs: 900_000,
  buildTimeoutMs: 7_200_000,
  queueTimeoutMs: DAY_MS,
} as const satisfies Timeouts;

/** The smallest value a submitter may ask for. Below 20 s a beat lost on the way would already be a verdict. */
export const TIMEOUT_MINIMA: Record<keyof Timeouts, number> = {
  heartbeatTimeoutMs: 20_000,
  workerTimeoutMs: 20_000,
  bootTimeoutMs: 20_000,
  noOutputTimeoutMs: 20_000,
  buildTimeoutMs: 30_000,
  queueTimeoutMs: 60_000,
};

// ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────

export const ErrorBody = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
  /** On a refused heartbeat: the attempt is over, stop working on it. */
  action: z.literal('stop').optional(),
  /** With `wrong_offset`: where the log stands. */
  expectedOffset: bytes.optional(),
});
export type ErrorBody = z.infer<typeof ErrorBody>;

export const Health = z.object({ status: z.literal('ok'), time: time });
export type Health = z.infer<typeof Health>;

export const Me = z.object({
  scope: z.enum(['admin', 'submit', 'worker']),
  name: z.string(),
  workerId: z.string().nullable(),
  /** Since which this key is in use, and how to name it when it is rotated. Null for the deployment's own ADMIN_KEY. */
  keyId: z.string().nullable().default(null),
  createdAt: time.nullable().default(null),
  expiresAt: time.nullable().default(null),
  /** The pools that it is tied to; null for all. */
  pools: z.array(z.string()).nullable().default(null),
});
export type Me = z.infer<typeof Me>;

// ── What one build tells the next of its project ─────────────────────────────────────────────────────────────────

/** The curve is read at 0/16, 1/16 … 16/16 of a phase's work. */
export const CURVE_STEPS = 16;
export const HISTORY_PHASES_MAX = 96;
const count = z.number().int().min(0).max(1_000_000_000);

export const PhaseHistory = z.object({
  id: z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/),
  durationMs,
  lines: count,
  /** Units of work: compiled files, installed pods, finished tasks. 0 if the phase showed none. */
  work: count,
  /** Per mille of the duration at which i/16 of the work had been seen. */
  curve: z
    .array(z.number().int().min(0).max(1_000))
    .length(CURVE_STEPS + 1)
    .optional(),
});
export type PhaseHistory = z.infer<typeof PhaseHistory>;

/** How long each phase took, and when its work was seen: what turns progress into an estimate of the time left. */
export const ProgressHistory = z.object({
  version: z.literal(1),
  /** How many builds are mixed in it. */
  builds: z.number().int().min(1).max(1_000_000),
  /** In the order in which they were first seen. */
  phases: z.array(PhaseHistory).max(HISTORY_PHASES_MAX),
});
export type ProgressHistory = z.infer<typeof ProgressHistory>;

// ── Builds ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Files to bring back, by glob from the root of the source. A glob that names a folder (`dist`, `*.xcarchive`) brings it as one archive,
 * `dist.tar.gz`; one that ends in a bare `*` or `**` means files. A required one that matches nothing fails the build.
 */
export const ArtifactGlob = z.object({
  glob: text(512).min(1),
  required: z.boolean().default(true),
  /** Collected from a failed build too: result bundles, logs. */
  onFailure: z.boolean().default(false),
});
export type ArtifactGlob = z.infer<typeof ArtifactGlob>;

const artifactGlobInput = z.union([
  text(512)
    .min(1)
    .transform((glob) => ArtifactGlob.parse({ glob })),
  ArtifactGlob,
]);
/** Together with the variables they are one sealed row: the request's own limit of 1 MiB bounds them all. */
export const SECRET_FILES_MAX = 20;
export const SECRET_FILE_MAX_BYTES = 256 * 1024;
const secretFileName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/, 'must be a plain file name of A-Z a-z 0-9 . _ -');
const secretFile = z
  .base64('must be the content in base64')
  .max(Math.ceil(SECRET_FILE_MAX_BYTES / 3) * 4, `must be at most ${SECRET_FILE_MAX_BYTES} bytes`);
const envName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be a shell variable name');

/** The request that makes a build. `minima` are {@link TIMEOUT_MINIMA}, except in a test's own entry. */
export const buildRequest = (minima: Record<keyof Timeouts, number>) => {
  const timeout = (name: keyof Timeouts) =>
    durationMs.min(minima[name], `must be at least ${minima[name]} ms`).default(DEFAULT_TIMEOUTS[name]);
  return z
    .object({
      source: z.object({ sha256: Sha256 }),
      /** Runs under `bash -l` in the root of the unpacked source. */
      command: shellText(16_384)
        .refine((command) => command !== '', 'must not be empty')
        .optional(),
      /** Stands for `eas build --local` with this profile. */
      profile: z
        .string()
        .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be an EAS profile name')
        .optional(),
      platform: z.enum(PLATFORMS),
      env: z.record(envName, shellText(32_768)).default({}),
      /** Certificates, profiles, keys: base64 contents, which the build finds as files below $TARTBEAT_SECRETS. */
      secretFiles: z.record(secretFileName, secretFile).default({}),
      artifacts: z.array(artifactGlobInput).max(50).default([]),
      timeouts: z
        .object({
          heartbeatTimeoutMs: timeout('heartbeatTimeoutMs'),
          workerTimeoutMs: timeout('workerTimeoutMs'),
          bootTimeoutMs: timeout('bootTimeoutMs'),
          noOutputTimeoutMs: timeout('noOutputTimeoutMs'),
          buildTimeoutMs: timeout('buildTimeoutMs'),
          queueTimeoutMs: timeout('queueTimeoutMs'),
        })
        .prefault({}),
      pool: id.default('default'),
      /** Builds of the same project, platform and profile do the same work: the earlier ones tell how long it takes. */
      project: id.optional(),
      labels: z.record(id, text(256)).default({}),
      priority: z.number().int().min(-100).max(100).default(0),
      maxAttempts: z.number().int().min(1).max(10).default(1),
      idempotencyKey: text(128).min(1).optional(),
    })
    .refine((request) => (request.command === undefined) !== (request.profile === undefined), {
      path: ['command'],
      message: 'give exactly one of command and profile',
    })
    .refine((request) => Object.keys(request.env).length <= 200, { path: ['env'], message: 'at most 200 variables' })
    .refine((request) => Object.keys(request.secretFiles).length <= SECRET_FILES_MAX, {
      path: ['secretFiles'],
      message: `at most ${SECRET_FILES_MAX} files`,
    })
    .refine((request) => Object.keys(request.labels).length <= 50, { path: ['labels'], message: 'at most 50 labels' });
};
export const BuildRequest = buildRequest(TIMEOUT_MINIMA);
export type BuildRequest = z.infer<typeof BuildRequest>;
/** What a submitter writes: everything with a default may be left out. */
export type BuildRequestInput = z.input<typeof BuildRequest>;

/** A code with the words for people that go with it. */
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
  /** Why it failed, and what to do, in one sentence each. */
  sentence: text(1_000),
  advice: text(1_000),
  /** The line of the log that tells. */
  line: text(500),
});
export type FailureExplanation = z.infer<typeof FailureExplanation>;

export const VerdictView = Explained.extend({
  whose: z.enum(['user', 'infrastructure']),
  /** The step or health check at which it happened, where the verdict names one. */
  step: z.string().nullable(),
  /** What was seen, in the reporter's words. */
  message: z.string().nullable(),
  /** With `build_failed`, if the log ends in a known error. */
  explained: FailureExplanation.nullable().default(null),
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
  workerId: z.string().nullable(),
  platform: z.enum(PLATFORMS),
  command: z.string().nullable(),
  profile: z.string().nullable(),
  source: z.object({ sha256: z.string() }),
  artifactGlobs: z.array(ArtifactGlob),
  timeouts: Timeouts,
  pool: z.string(),
  project: z.string().nullable().default(null),
  labels: z.record(z.string(), z.string()),
  priority: z.number().int(),
  retryOf: z.string().nullable(),
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

/** What the deadline object knows of a running attempt. */
export const Live = z.object({
  attempt: z.number().int(),
  stage: z.enum(STAGES),
  phase: z.string().nullable(),
  progress: Progress.nullable(),
  /** When the command is expected to end, from earlier builds of the project; null without any. */
  endExpectedAt: time.nullable().default(null),
  vmBeatAt: time.nullable(),
  agentBeatAt: time.nullable(),
  outputGrewAt: time.nullable(),
  deadlines: z.array(Deadline),
});
export type Live = z.infer<typeof Live>;

export const Artifact = z.object({
  name: z.string(),
  attempt: z.number().int(),
  sha256: z.string(),
  size: bytes,
});
export type Artifact = z.infer<typeof Artifact>;

export const AttemptView = z.object({
  attempt: z.number().int(),
  workerId: z.string(),
  verdict: VerdictView.nullable(),
  cause: Explained.nullable(),
  exitCode: z.number().int().nullable(),
  claimedAt: time,
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  /** From the passed deadline to the verdict; only for verdicts that a deadline said. */
  latenessMs: z.number().nullable(),
  evidence: z.record(z.string(), z.unknown()).nullable(),
});
export type AttemptView = z.infer<typeof AttemptView>;

export const TimelineEvent = z.object({
  type: z.string(),
  attempt: z.number().int(),
  at: time,
  detail: z.record(z.string(), z.unknown()),
});
export type TimelineEvent = z.infer<typeof TimelineEvent>;

export const BuildDetail = Build.extend({
  attempts: z.array(AttemptView),
  events: z.array(TimelineEvent),
  artifacts: z.array(Artifact),
  live: Live.nullable(),
  /** Why a queued build is not running, or a running one not yet building. */
  waitingFor: z.string().nullable(),
});
export type BuildDetail = z.infer<typeof BuildDetail>;

export const BuildList = z.object({
  builds: z.array(Build.extend({ live: Live.nullable().optional() })),
  nextCursor: z.string().nullable(),
});
export type BuildList = z.infer<typeof BuildList>;

export const ArtifactList = z.object({ artifacts: z.array(Artifact) });
export const BlobStored = z.object({ sha256: Sha256, size: bytes, existed: z.boolean() });
export type BlobStored = z.infer<typeof BlobStored>;

/** An upload in parts: for what is larger than {@link BLOB_MAX_BYTES}. */
export const UploadRequest = z.object({ size: bytes.min(1).max(UPLOAD_MAX_BYTES) });
export const Upload = z.object({
  /** Null: it was stored before, nothing needs to be sent. */
  id: z.string().nullable(),
  sha256: Sha256,
  size: bytes,
  /** `verifying`: all is there and is being read back; ask again. Visible once it is `stored`. */
  state: z.enum(['open', 'verifying', 'stored']),
  /** How long each part is, but for the last one. */
  partBytes: z.number().int().min(1),
  /** The numbers, from 1, of the parts that need not be sent again. */
  parts: z.array(z.number().int()),
  verifiedBytes: bytes,
});
export type Upload = z.infer<typeof Upload>;
export const UploadPart = z.object({ part: z.number().int(), size: bytes });
export type UploadPart = z.infer<typeof UploadPart>;

// ── Workers ──────────────────────────────────────────────────────────────────────────────────────────────────────

export const WorkerRequest = z.object({
  name: id,
  pool: id.default('default'),
  platforms: z.array(z.enum(PLATFORMS)).min(1).max(PLATFORMS.length).default(['ios', 'android']),
  slots: z.number().int().min(1).max(2, 'a Mac runs at most 2 VMs').default(1),
  /** What to answer: its key, or a one-time code that `expo-worker init --code` turns into a key on the Mac itself. */
  credential: z.enum(['key', 'code']).default('key'),
});
export type WorkerRequest = z.infer<typeof WorkerRequest>;

export const WorkerPatch = z.object({ action: z.enum(['pause', 'resume', 'drain']) });
export type WorkerPatch = z.infer<typeof WorkerPatch>;

export const Finding = z.object({
  id: text(64),
  title: text(200),
  status: z.enum(['pass', 'warn', 'fail', 'skipped']),
  blocking: z.boolean(),
  detail: text(2_000).default(''),
  fix: text(2_000).nullable().default(null),
});
export type Finding = z.infer<typeof Finding>;

export const Worker = z.object({
  id: z.string(),
  name: z.string(),
  state: z.enum(WORKER_STATES),
  /** Why it takes no builds, when it takes none. */
  stateReason: z.string().nullable(),
  pool: z.string(),
  platforms: z.array(z.enum(PLATFORMS)),
  slots: z.number().int(),
  /** The agent's own word. */
  slotsInUse: z.number().int(),
  vms: z.array(z.string()),
  builds: z.array(z.string()),
  lastSeenAt: time.nullable(),
  createdAt: time,
  findings: z.array(Finding).nullable(),
});
export type Worker = z.infer<typeof Worker>;
export const WorkerList = z.object({ workers: z.array(Worker) });
/** With `credential: 'key'` (the default) the key, with `'code'` the answer is {@link WorkerInvited}. */
export const WorkerRegistered = z.object({ worker: Worker, key: z.string() });

/** The agent's report of itself: on every change, and at least each minute. */
export const WorkerStatus = z.object({
  instanceId: id,
  slots: z.number().int().min(1).max(2),
  slotsInUse: z.number().int().min(0).max(8),
  vms: z.array(text(128)).max(16),
  agentVersion: text(64),
  findings: z.array(Finding).max(64).optional(),
});
export type WorkerStatus = z.infer<typeof WorkerStatus>;
export const WorkerStatusAnswer = z.object({ state: z.enum(WORKER_STATES), nextMs: durationMs });

// ── Claim ────────────────────────────────────────────────────────────────────────────────────────────────────────

export const ClaimRequest = z.object({
  /** One installation of the agent; kept on its disk. */
  instanceId: id,
  /** Journalled before the call; the same one answers the same assignment. */
  claimId: id,
});
export type ClaimRequest = z.infer<typeof ClaimRequest>;

export const Assignment = z.object({
  buildId: z.string(),
  attempt,
  workerId: z.string(),
  claimId: z.string(),
  platform: z.enum(PLATFORMS),
  command: z.string(),
  source: z.object({ sha256: Sha256, size: bytes }),
  artifactGlobs: z.array(ArtifactGlob),
  timeouts: Timeouts,
  /** Decides what a partition means: with another attempt possible, the VM must not outlive the worker's deadline. */
  anotherAttemptPossible: z.boolean(),
  /** Of the same project, platform and profile. */
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
  /** Why this worker is given nothing although it asks, if there is a reason other than an empty queue. */
  reason: z.string().nullable(),
});
export type ClaimAnswer = z.infer<typeof ClaimAnswer>;

/** How a restarted agent knows what is current. */
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
    }),
  ),
});
export type WorkerAttempts = z.infer<typeof WorkerAttempts>;

/** The doctor's report, also of a Mac on which no agent runs. Without a blocking failure it ends quarantine. */
export const FindingsReport = z.object({ instanceId: id, findings: z.array(Finding).max(64) });
export type FindingsReport = z.infer<typeof FindingsReport>;

/** The last successful attempts of a worker, newest first: what its limits may be tuned by. */
export const WorkerDurations = z.object({
  attempts: z.array(
    z.object({
      buildId: z.string(),
      project: z.string().nullable(),
      platform: z.enum(PLATFORMS),
      endedAt: time,
      /** From the claim to the start of the command. */
      bootMs: z.number().nullable(),
      /** From the claim to the end. */
      totalMs: z.number(),
      /** The longest time for which the log did not grow. */
      quietMs: z.number().nullable(),
      timeouts: Timeouts,
    }),
  ),
});
export type WorkerDurations = z.infer<typeof WorkerDurations>;

export const Inputs = z.object({
  env: z.record(z.string(), z.string()),
  /** Contents in base64, by file name. */
  secretFiles: z.record(z.string(), z.string()).optional(),
});
export type Inputs = z.infer<typeof Inputs>;

// ── Heartbeat: a fixed contract, monitors outlive controllers ────────────────────────────────────────────────────

export const Heartbeat = z.object({
  progress: lenient(z.number().min(0).max(100)),
  /** Where the figure comes from; a plain monitor's own figure counts as the script's. */
  origin: lenient(z.enum(['script', 'parsed', 'time'])),
  /** A label for people. */
  phase: lenient(text(120)),
  /** Until the command is expected to end; only where an earlier build tells. */
  etaMs: lenient(durationMs),
  source: z.enum(['vm', 'agent']).optional(),
  attempt: attempt.optional(),
  stage: lenient(z.enum(STAGES)),
  /** Since the log last grew; left out while the agent cannot read it. */
  outputAgeMs: lenient(durationMs),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

export const HeartbeatAnswer = z.object({
  status: z.literal('ok'),
  timestamp: time,
  action: z.enum(['continue', 'stop']),
  nextMs: z.number().int().min(1),
  /** The last accepted beat of the VM: how the agent knows that the monitor gets through. */
  vmBeatAt: time.nullable(),
});
export type HeartbeatAnswer = z.infer<typeof HeartbeatAnswer>;

// ── Reports ──────────────────────────────────────────────────────────────────────────────────────────────────────

export const ArtifactReport = z.object({ name: ArtifactName, sha256: Sha256, size: bytes });
export type ArtifactReport = z.infer<typeof ArtifactReport>;

/** The whole log as the agent sent it: what is stored must match before it is sealed. */
export const LogTotal = z.object({ length: bytes, sha256: Sha256 });
export type LogTotal = z.infer<typeof LogTotal>;

/** What the agent saw of a VM that did not end well. A probe that could not be made is left out. */
export const Evidence = z.object({
  collectedAt: time,
  /** What `tart list` says of the VM. */
  vm: z.enum(['running', 'stopped', 'missing']).optional(),
  /** True if `tart run` had ended unasked. */
  runExited: z.boolean().optional(),
  runOutput: text(8_192).optional(),
  ssh: z.object({ answers: z.boolean(), ms: z.number().optional(), error: text(500).optional() }).optional(),
  monitor: z
    .object({ alive: z.boolean(), restarts: z.number().int().min(0).default(0), log: text(8_192).default('') })
    .optional(),
  controllerFromVm: z.object({ reachable: z.boolean(), detail: text(500).default('') }).optional(),
  vmDisk: z.object({ freeBytes: bytes, usedPercent: z.number() }).optional(),
  vmMemory: z.object({ freeBytes: bytes, outOfMemoryKills: z.number().int().min(0).default(0) }).optional(),
  hostDisk: z.object({ freeBytes: bytes }).optional(),
  hostMemory: z.object({ freeBytes: bytes }).optional(),
  /** The longest time for which the agent itself did not run. */
  hostAsleepMs: durationMs.optional(),
  /** Since the agent last reached the controller, when that was long. */
  controllerUnreachableMs: durationMs.optional(),
  /** The last 200 lines of the log. */
  logTail: text(65_536).optional(),
});
export type Evidence = z.infer<typeof Evidence>;

export const Report = z.discriminatedUnion('type', [
  z.object({ type: z.literal('start'), attempt }),
  z.object({
    type: z.literal('succeed'),
    attempt,
    artifacts: z.array(ArtifactReport).max(ARTIFACTS_MAX),
    log: LogTotal.optional(),
    /** For the next build of the project; only from an agent that saw the whole of this one. */
    history: lenient(ProgressHistory),
    quietMs: lenient(durationMs),
  }),
  z.object({
    type: z.literal('fail'),
    attempt,
    verdict: z.enum(AGENT_VERDICTS),
    /** The failed step, or the id of the failed health check. */
    step: text(64).optional(),
    message: text(4_000).optional(),
    exitCode: z.number().int().optional(),
    explained: lenient(FailureExplanation),
    artifacts: z.array(ArtifactReport).max(ARTIFACTS_MAX).default([]),
    evidence: Evidence.optional(),
    log: LogTotal.optional(),
  }),
  z.object({ type: z.literal('evidence'), attempt, evidence: Evidence, log: LogTotal.optional() }),
]);
export type Report = z.infer<typeof Report>;
export type ReportInput = z.input<typeof Report>;

export const ReportAnswer = z.object({ status: z.enum(BUILD_STATUSES), attempt: z.number().int() });
export type ReportAnswer = z.infer<typeof ReportAnswer>;

// ── Logs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export const LogAppended = z.object({
  /** Bytes stored so far: the next offset. */
  length: bytes,
  /** How many follow right now: with nobody watching, the agent sends in larger batches. */
  followers: z.number().int(),
});
export type LogAppended = z.infer<typeof LogAppended>;
/** On a log read: the log's whole length so far, and whether it is complete. */
export const LOG_LENGTH_HEADER = 'X-Log-Length';
export const LOG_COMPLETE_HEADER = 'X-Log-Complete';

// ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export const KeyRequest = z
  .object({
    name: text(100).min(1),
    scope: z.enum(['admin', 'submit']),
    expiresAt: time.optional(),
    /** For scope `submit`: it may submit to these pools, and see their builds, alone. */
    pools: z.array(id).min(1).max(50).optional(),
  })
  .refine(({ scope, pools }) => scope === 'submit' || pools === undefined, {
    path: ['pools'],
    message: 'only a key of scope submit can be tied to pools',
  });
export type KeyRequest = z.infer<typeof KeyRequest>;
export const KeyView = z.object({
  id: z.string(),
  name: z.string(),
  scope: z.enum(['admin', 'submit', 'worker']),
  workerId: z.string().nullable(),
  pools: z.array(z.string()).nullable().default(null),
  createdAt: time,
  lastUsedAt: time.nullable(),
  /** Also the end of the overlap, once it was rotated. */
  expiresAt: time.nullable(),
  revokedAt: time.nullable(),
  /** The id of the key that it was made to replace. */
  rotatedFrom: z.string().nullable().default(null),
});
export type KeyView = z.infer<typeof KeyView>;
export const KeyCreated = z.object({ key: KeyView, secret: z.string() });
export const KeyList = z.object({ keys: z.array(KeyView) });

/** A worker's one-time code, and what it turns into. */
export const EnrolmentRequest = z.object({
  validForMinutes: z
    .number()
    .int()
    .min(1)
    .max(7 * 24 * 60)
    .default(60),
});
export type EnrolmentRequest = z.infer<typeof EnrolmentRequest>;
export const EnrolmentCreated = z.object({ code: z.string(), workerId: z.string(), expiresAt: time });
export const WorkerInvited = z.object({ worker: Worker, enrolment: EnrolmentCreated });
export const EnrolRequest = z.object({ code: text(200).min(1) });
export const Enrolled = z.object({ workerId: z.string(), name: z.string(), key: z.string() });
export type Enrolled = z.infer<typeof Enrolled>;

export const AuditEntry = z.object({
  id: z.number().int(),
  at: time,
  keyId: z.string(),
  keyName: z.string(),
  action: z.string(),
  target: z.string().nullable(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;
export const AuditList = z.object({ entries: z.array(AuditEntry), nextCursor: z.string().nullable() });
