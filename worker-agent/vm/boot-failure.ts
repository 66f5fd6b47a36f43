/**
 * Names the verdict of a boot that failed, from the step that failed and from the failure of Tart or SSH.
 * Pure.
 */
import type { HandBackReason } from '#contract';
import type { SshErrorKind } from '../guest/ssh-error.ts';
import type { TartFailure } from '../tart/answers.ts';

export interface BootFailure {
  ok: false;
  verdict: 'vm_start_failed' | 'health_check_failed' | 'vm_exited';
  /** clone, set or run; for health_check_failed the check's id (vm_address, ssh). */
  step: string;
  kind: TartFailure['kind'] | SshErrorKind;
  message: string;
}

export interface VmEnd {
  exitCode: number | null;
  kind: TartFailure['kind'];
  /** From the end of the run's log. */
  message: string;
}

type Reason = Pick<BootFailure, 'kind' | 'message'>;

/** Why the build must go back: it met a limit of this Mac, so neither the build nor the VM is to blame. */
export function handBackOf({
  verdict,
  step,
  kind,
}: Pick<BootFailure, 'verdict' | 'step' | 'kind'>): HandBackReason | undefined {
  if (verdict !== 'vm_start_failed') return undefined;
  if (kind === 'vm_limit') return kind;
  return step === 'clone' && kind === 'not_found' ? 'image_gone' : undefined;
}

export const startFailed = ({ step, kind, message }: TartFailure): BootFailure => ({
  ok: false,
  verdict: 'vm_start_failed',
  step,
  kind,
  message,
});

/** `tart run` lives, but it has not started the VM, so it makes no sense to wait for an address. */
export const neverStarted = ({ kind, message }: Reason): BootFailure => ({
  ok: false,
  verdict: 'vm_start_failed',
  step: 'run',
  kind,
  message: `tart run has not started the VM: ${message}`,
});

export const checkFailed = (step: 'vm_address' | 'ssh', { kind, message }: Reason): BootFailure => ({
  ok: false,
  verdict: 'health_check_failed',
  step,
  kind,
  message,
});

/**
 * The VM ended during this check. If Tart refused to start it, the exit code is not 0. It is 0 if the guest
 * shut down, and null if the run was killed.
 */
export function exitedEarly({ exitCode, kind, message }: VmEnd, check: string): BootFailure {
  const neverRan = check === 'vm_address' && exitCode !== null && exitCode !== 0;
  return { ok: false, verdict: neverRan ? 'vm_start_failed' : 'vm_exited', step: 'run', kind, message };
}
