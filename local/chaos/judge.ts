/**
 * Compares how one build ended with how it had to end. Pure.
 *
 * Invariant: every difference from the fault table is a complaint. An attempt that met no fault may only
 * succeed.
 */
import type { AttemptView, BuildDetail, Cause } from '#contract';
import { ARTIFACT, expectedArtifact, printed } from './builds.ts';
import { faultOf, isSurvived } from './faults/catalogue.ts';
import type { Ending, Fault } from './faults/fault.ts';
import type { PlannedBuild } from './plan.ts';

export interface LogFacts {
  attempt: number;
  lengthBytes: number;
  /** The number of bytes at the beginning that match the build's output. */
  rightBytes: number;
  complete: boolean;
}

export interface Outcome {
  planned: PlannedBuild;
  fault: 'none' | 'injected' | 'missed';
  /** The build as the API shows it after its end. Null if it could not be read. */
  build: BuildDetail | null;
  logs: LogFacts[];
  /** The artifacts, as they were downloaded. */
  artifacts: { name: string; sha256: string; sizeBytes: number }[];
  /** VMs of its attempts that still existed long after the end. */
  leakedVms: string[];
  agentAwayMs: number;
  /** True if the controller was away while one of its attempts ran. */
  duringOutage: boolean;
}

export interface Judgement {
  number: number;
  buildId: string | null;
  /** The kind of the fault that met the build. */
  kind: string | null;
  missed: boolean;
  /** How each attempt ended, beginning with attempt 1. */
  endings: string[];
  verdictRight: boolean | null;
  /**
   * Null if the fault table names no cause: the attempt met no fault, or survived it, or was lost with it.
   */
  causeRight: boolean | null;
  causes: (string | null)[];
  falseKills: number;
  stuck: boolean;
  lostLogBytes: number;
  /** Complete logs that were never marked as complete. */
  unsealedLogs: number;
  lostArtifacts: number;
  leakedVms: string[];
  latenessMs: number[];
  succeeded: boolean;
  complaints: string[];
}

export function judgeChaos(outcome: Outcome): Judgement {
  const { planned, build, leakedVms } = outcome;
  const fault = planned.fault && outcome.fault === 'injected' ? faultOf(planned.fault.kind) : null;
  const attempts = build?.attempts ?? [];
  const stuck = !build?.endedAt;
  const complaints: string[] = [];
  if (stuck) complaints.push(`stuck: ${build ? `${build.status}, ${build.waitingFor}` : 'the API did not return it'}`);

  let falseKills = 0;
  let verdictRight: boolean | null = null;
  for (const view of attempts) {
    const struck = view.attempt === 1 ? fault : null;
    const allowed = allowedEndings(outcome, struck, view);
    const ending = endingOf(view, build!);
    if (ending === null) continue; // a stuck build has its complaint already
    const right = allowed.endings.includes(ending) && rightStep(struck, view) && rightHandBack(struck, view, ending);
    if (struck) verdictRight = right;
    if (right) continue;
    complaints.push(
      `attempt ${view.attempt} ended as ${wordsOf(view, ending)}, expected ${[...new Set(allowed.endings)].join(' or ')}${struck?.steps ? ` at ${struck.steps}` : ''}${struck?.handedBack ? ', handed back' : ''}: ${view.verdict?.message ?? ''}`,
    );
    if (allowed.mustSurvive && ending !== 'succeeded') falseKills++;
  }
  if (fault && verdictRight === null && !stuck) {
    verdictRight = fault.ends.includes(build.verdict?.code as Ending);
    if (!verdictRight) complaints.push(`the build ended without an attempt: ${build.verdict?.code}`);
  }

  const causeRight = judgeCause(fault, attempts[0]);
  if (causeRight === false)
    complaints.push(
      `${attempts[0]!.verdict!.code} has ${wordOf(attempts[0]!.cause?.code)}, expected ${fault!.causes!.map(wordOf).join(' or ')}; ${seen(attempts[0])}`,
    );
  const judgedLogs = attempts.map((view) => judgeLog(outcome, view, complaints));
  const lostArtifacts = build?.status === 'succeeded' && !hasArtifact(outcome) ? 1 : 0;
  if (lostArtifacts)
    complaints.push(`its artifact differs from the one that it made: ${JSON.stringify(outcome.artifacts)}`);
  for (const name of leakedVms) complaints.push(`its VM ${name} still exists`);
  return {
    number: planned.number,
    buildId: build?.id ?? null,
    kind: fault?.kind ?? null,
    missed: outcome.fault === 'missed',
    endings: attempts.map((view) => wordsOf(view, endingOf(view, build!))),
    verdictRight,
    causeRight,
    causes: attempts.map(({ cause }) => cause?.code ?? null),
    falseKills,
    stuck,
    lostLogBytes: judgedLogs.reduce((sum, { lostBytes }) => sum + lostBytes, 0),
    unsealedLogs: judgedLogs.filter(({ isUnsealed }) => isUnsealed).length,
    lostArtifacts,
    leakedVms,
    latenessMs: attempts.flatMap(({ latenessMs }) => latenessMs ?? []),
    succeeded: build?.status === 'succeeded',
    complaints,
  };
}

/** How the attempt ended. Null while it runs. */
function endingOf({ attempt, verdict, endedAt }: AttemptView, build: BuildDetail): Ending | null {
  if (verdict) return verdict.code as Ending;
  if (endedAt === null) return null;
  return attempt === build.attempt && build.status === 'cancelled' ? 'cancelled' : 'succeeded';
}

function allowedEndings(outcome: Outcome, fault: Fault | null, view: AttemptView) {
  const { planned, build, agentAwayMs, duringOutage } = outcome;
  const handBacks = build?.handBacks ?? 0;
  const mustSurvive = fault === null || isSurvived(fault);
  const endings: Ending[] = fault ? [...fault.ends] : ['succeeded'];
  const { workerTimeoutMs } = planned.timeouts;
  // If the agent could not start again in time, the worker is really lost.
  if (agentAwayMs > workerTimeoutMs! - 1_000 && fault) endings.push('worker_lost');
  if (duringOutage) {
    // The partition rule allows `worker_lost`. The deadline of a dead VM may also pass before its agent
    // reaches the controller again.
    if (view.attempt - handBacks < planned.maxAttempts || !mustSurvive) endings.push('worker_lost');
    if (!mustSurvive) endings.push('vm_silent');
  }
  return { endings, mustSurvive };
}

/** The evidence from which the cause was derived, without logs. */
function seen(view: AttemptView | undefined): string {
  if (!view?.evidence) return 'there is no evidence';
  const { logTail, runOutput, monitor, ...figures } = view.evidence;
  return JSON.stringify({ ...figures, monitor: { ...(monitor as object | undefined), log: undefined } });
}

const rightStep = (fault: Fault | null, { verdict }: AttemptView): boolean =>
  !fault?.steps || !fault.ends.includes(verdict?.code as Ending) || fault.steps.includes(verdict?.step ?? '');

const rightHandBack = (fault: Fault | null, { handedBack }: AttemptView, ending: Ending): boolean =>
  handedBack === (fault?.handedBack === true && fault.ends.includes(ending));

function judgeCause(fault: Fault | null, view: AttemptView | undefined): boolean | null {
  if (!fault?.causes || !view?.verdict || !fault.ends.includes(view.verdict.code as Ending)) return null;
  return fault.causes.includes((view.cause?.code ?? null) as Cause | null);
}

const wordOf = (cause: string | null | undefined) => (cause ? `cause ${cause}` : 'no cause');

/** These verdicts explain themselves, and the agent collects no evidence for them. */
const WITHOUT_EVIDENCE: readonly string[] = [
  'source_invalid',
  'project_invalid',
  'artifact_missing',
  'artifact_refused',
  'inputs_gone',
];

/** The command succeeded before these verdicts, so all of its log must be there. */
const OF_THE_ARTIFACTS: readonly (string | undefined)[] = ['artifact_missing', 'artifact_refused'];

/** True if the cause can be judged only once the evidence is there. */
export const isEvidenceDue = (fault: Fault, view: AttemptView | undefined): boolean =>
  fault.causes !== undefined && view?.verdict != null && !WITHOUT_EVIDENCE.includes(view.verdict.code);

/**
 * If the command ended by itself, every byte must be there. Otherwise all bytes that are there must be right.
 */
function judgeLog(
  { planned, logs }: Outcome,
  view: AttemptView,
  complaints: string[],
): { lostBytes: number; isUnsealed: boolean } {
  const log = logs.find(({ attempt }) => attempt === view.attempt);
  const wrongBytes = log ? log.lengthBytes - log.rightBytes : 0;
  const { hangs, endless } = planned.shape;
  const code = view.verdict?.code;
  const finished =
    view.endedAt !== null &&
    (code === undefined ||
      OF_THE_ARTIFACTS.includes(code) ||
      (code === 'build_failed' && planned.shape.exitCode !== 0));
  const dueBytes =
    finished && !hangs && !(endless && view.attempt === 1) ? printed(planned.number, planned.shape).length : 0;
  const lost = Math.max(wrongBytes, dueBytes - (log?.rightBytes ?? 0));
  if (lost > 0)
    complaints.push(
      `attempt ${view.attempt}: ${lost} bytes of its log are lost or wrong (${log?.lengthBytes ?? 0} stored, ${log?.rightBytes ?? 0} of them right, ${dueBytes} expected)`,
    );
  const isUnsealed = lost <= 0 && finished && !log?.complete;
  if (isUnsealed) complaints.push(`attempt ${view.attempt}: its log was never sealed`);
  return { lostBytes: Math.max(0, lost), isUnsealed };
}

function hasArtifact({ planned, artifacts }: Outcome): boolean {
  const { sha256, sizeBytes } = expectedArtifact(planned.number);
  return artifacts.some((one) => one.name === ARTIFACT && one.sha256 === sha256 && one.sizeBytes === sizeBytes);
}

const wordsOf = ({ verdict, handedBack }: AttemptView, ending: Ending | null): string =>
  `${ending ?? 'running'}${verdict?.step ? `: ${verdict.step}` : ''}${handedBack ? ', handed back' : ''}`;
