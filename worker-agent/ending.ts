/**
 * Says how an attempt ends, as data. AttemptOver carries an Ending out of any step of the attempt: the step
 * that failed throws it, or it is the reason of the attempt's signal.
 *
 * Invariant: an attempt has one ending, the first.
 */
import type { AgentVerdict, ArtifactReport, HandBackReason } from '#contract';

export type Ending =
  | { kind: 'succeeded'; artifacts: ArtifactReport[] }
  | {
      kind: 'failed';
      verdict: AgentVerdict;
      step?: string | undefined;
      message: string;
      exitCode?: number | undefined;
      /** This Mac could not start a VM, so the build goes back to the queue without losing an attempt. */
      handBack?: HandBackReason | undefined;
      /** Why SSH did not answer in a VM that was never reached: a word of guest/ssh-error.ts. */
      sshKind?: string | undefined;
      artifacts?: ArtifactReport[];
    }
  /** The controller has ended the attempt itself, so there is nothing to report but evidence. */
  | { kind: 'stopped'; message: string };

export class AttemptOver extends Error {
  override name = 'AttemptOver';
  ending: Ending;
  constructor(ending: Ending) {
    super(ending.kind === 'succeeded' ? 'succeeded' : ending.message);
    this.ending = ending;
  }
}

export const failed = (verdict: AgentVerdict, step: string | undefined, message: string, exitCode?: number) =>
  new AttemptOver({ kind: 'failed', verdict, step, message, exitCode });

/** These verdicts explain themselves, so the agent does not look at the VM. */
const EXPLAINED_BY_ITSELF: readonly AgentVerdict[] = [
  'source_invalid',
  'project_invalid',
  'artifact_missing',
  'artifact_refused',
  'inputs_gone',
];

/** Whether the agent looks at the VM before it is destroyed. */
export function needsEvidence(ending: Ending): boolean {
  if (ending.kind === 'stopped') return true;
  return ending.kind === 'failed' && !EXPLAINED_BY_ITSELF.includes(ending.verdict);
}
