/**
 * Says how an attempt ends, as data. AttemptOver carries an Ending out of whatever the attempt is doing: the
 * step that failed throws it, or it is the reason of the attempt's signal.
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
      /** This Mac could have no VM, so the build goes back and does not lose an attempt. */
      handBack?: HandBackReason | undefined;
      /** In which way SSH did not answer in a VM that was never reached: a word of guest/ssh-error.ts. */
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

/** They explain themselves, so the VM need not be looked at. */
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
