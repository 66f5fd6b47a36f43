/**
 * Defines the reports of an agent on an attempt: its start, its end, and the evidence of a VM that did not
 * end well.
 */
import { z } from 'zod';
import { AGENT_VERDICTS, BUILD_STATUSES, CAUSES, HAND_BACK_REASONS, VERDICTS } from '../closed-lists.ts';
import { ArtifactName, attempt, bytes, durationMs, lenient, Sha256, text, time } from '../fields.ts';
import {
  ARTIFACTS_MAX,
  EVIDENCE_ERROR_MAX,
  EVIDENCE_LOG_TAIL_MAX,
  EVIDENCE_OUTPUT_MAX,
  PROCESS_COMMAND_MAX,
  PROCESS_STATE_MAX,
  PROCESSES_MAX,
  REPORT_MESSAGE_MAX,
  REPORT_STEP_MAX,
} from '../sizes.ts';
import { ArtifactApp, FailureExplanation, TellingLines } from './builds.ts';
import { ProgressHistory } from './phase-history.ts';

export const ArtifactReport = z.object({
  name: ArtifactName,
  sha256: Sha256,
  size: bytes,
  /** The attempt has uploaded the icon of the app, as it has the artifact. */
  app: lenient(ArtifactApp),
});
export type ArtifactReport = z.infer<typeof ArtifactReport>;

/**
 * Length and digest of the whole log, as the agent sent it. The stored log must match before it is sealed.
 */
export const LogTotal = z.object({ length: bytes, sha256: Sha256 });
export type LogTotal = z.infer<typeof LogTotal>;

/** A process of a build that still ran when the attempt ended. */
export const ProcessSeen = z.object({
  pid: z.number().int(),
  elapsedMs: durationMs,
  cpuPercent: z.number(),
  /** As `ps` shows it, such as `S`. */
  state: text(PROCESS_STATE_MAX),
  /**
   * With its arguments, in which secrets are masked. Without them if a secret has characters that `ps` shows
   * in another form.
   */
  command: text(PROCESS_COMMAND_MAX),
});
export type ProcessSeen = z.infer<typeof ProcessSeen>;

/** The agent's evidence of a VM that did not end well. A probe that it could not make is left out. */
export const Evidence = z.object({
  collectedAt: time,
  /** The state of the VM in `tart list`. */
  vm: z.enum(['running', 'stopped', 'missing']).optional(),
  /** True if `tart run` ended although the agent had not stopped it. */
  runExited: z.boolean().optional(),
  runOutput: text(EVIDENCE_OUTPUT_MAX).optional(),
  /** True if the guest has started anew since the build began in it. */
  vmRestarted: z.boolean().optional(),
  ssh: z
    .object({
      answers: z.boolean(),
      ms: z.number().optional(),
      error: text(EVIDENCE_ERROR_MAX).optional(),
      /** The way in which it does not answer: the agent's own word, such as `refused` or `silent`. */
      kind: text(32).optional(),
    })
    .optional(),
  /** Whether Tart's guest agent answered, without a network. It is asked if SSH does not answer at once. */
  secondWay: z
    .object({ answers: z.boolean(), ms: z.number().optional(), error: text(EVIDENCE_ERROR_MAX).optional() })
    .optional(),
  monitor: z
    .object({
      alive: z.boolean(),
      restarts: z.number().int().min(0).default(0),
      log: text(EVIDENCE_OUTPUT_MAX).default(''),
    })
    .optional(),
  controllerFromVm: z.object({ reachable: z.boolean(), detail: text(EVIDENCE_ERROR_MAX).default('') }).optional(),
  vmDisk: z.object({ freeBytes: bytes, usedPercent: z.number() }).optional(),
  vmMemory: z.object({ freeBytes: bytes, outOfMemoryKills: z.number().int().min(0).default(0) }).optional(),
  /** The processes of the build that still ran: first those that wait for no process of their own. */
  processes: z.array(ProcessSeen).max(PROCESSES_MAX).optional(),
  hostDisk: z.object({ freeBytes: bytes }).optional(),
  hostMemory: z.object({ freeBytes: bytes }).optional(),
  /** The longest time for which the agent itself did not run, if possible one that ended lately. */
  hostAsleepMs: durationMs.optional(),
  /** Since the end of that time. */
  hostAwakeMs: durationMs.optional(),
  /** Since the agent last reached the controller, when that was long. */
  controllerUnreachableMs: durationMs.optional(),
  /** The last 200 lines of the log. */
  logTail: text(EVIDENCE_LOG_TAIL_MAX).optional(),
});
export type Evidence = z.infer<typeof Evidence>;

const artifactReports = z
  .array(ArtifactReport)
  .max(ARTIFACTS_MAX)
  .refine((reports) => new Set(reports.map(({ name }) => name)).size === reports.length, 'a name is there twice');

export const Report = z.discriminatedUnion('type', [
  z.object({ type: z.literal('start'), attempt }),
  z.object({
    type: z.literal('succeed'),
    attempt,
    artifacts: artifactReports,
    log: LogTotal.optional(),
    /** For the next build of the project. Only an agent that saw the whole build sends it. */
    history: lenient(ProgressHistory),
    /** The longest time for which the log did not grow and the VM did not work. */
    quietMs: lenient(durationMs),
  }),
  z.object({
    type: z.literal('fail'),
    attempt,
    verdict: z.enum(AGENT_VERDICTS),
    /**
     * With `vm_start_failed`: the build is queued again without loss of an attempt. Older agents never say
     * it, and a controller that does not know it counts the verdict.
     */
    handBack: lenient(z.enum(HAND_BACK_REASONS)),
    /** The failed step, or the id of the failed health check. */
    step: text(REPORT_STEP_MAX).optional(),
    message: text(REPORT_MESSAGE_MAX).optional(),
    exitCode: z.number().int().optional(),
    explained: lenient(FailureExplanation),
    tellingLines: lenient(TellingLines),
    artifacts: artifactReports.default([]),
    evidence: Evidence.optional(),
    log: LogTotal.optional(),
  }),
  z.object({ type: z.literal('evidence'), attempt, evidence: Evidence, log: LogTotal.optional() }),
]);
export type Report = z.infer<typeof Report>;
export type ReportInput = z.input<typeof Report>;

/** Until when the agent keeps the VM of an attempt for a look. Null: it does not, or not any more. */
export const KeptRequest = z.object({ attempt, until: time.nullable() });
export type KeptRequest = z.infer<typeof KeptRequest>;

/** The time as the controller shows it, which the request of the build bounds. */
export const KeptAnswer = z.object({ keptUntil: time.nullable() });
export type KeptAnswer = z.infer<typeof KeptAnswer>;

/** How an attempt ended, as the controller has decided. */
export const Outcome = z.object({
  /** Null: it succeeded. */
  verdict: z.enum(VERDICTS).nullable(),
  step: z.string().nullable(),
  cause: z.enum(CAUSES).nullable(),
});
export type Outcome = z.infer<typeof Outcome>;

export const ReportAnswer = z.object({
  status: z.enum(BUILD_STATUSES),
  attempt: z.number().int(),
  /** Set once the attempt has ended. Older controllers do not say it. */
  outcome: lenient(Outcome),
});
export type ReportAnswer = z.infer<typeof ReportAnswer>;
