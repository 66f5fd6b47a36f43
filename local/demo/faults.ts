/**
 * Lists the faults that the demo injects, as data: when, with which timeouts, and the outcome that Tartbeat
 * must reach.
 */
import type { AttemptView, BuildRequestInput, Cause, Verdict } from '#contract';
import type { FaultDemoName } from './options.ts';

export interface FaultDemo {
  /** Printed above the demo of this fault. */
  title: string;
  /**
   * `boot`: the VM has the fault before it boots. `building`: the fault comes while the build command runs.
   */
  from: 'boot' | 'building';
  /**
   * The smallest timeouts that the deployed controller accepts, so that no user has to wait for the defaults.
   */
  timeouts: BuildRequestInput['timeouts'];
  expected: { verdict: Verdict; step?: string; cause?: Cause };
  /** The longest time from the fault to the verdict. */
  verdictWithinMs: number;
}

/** A verdict that is later than this after its deadline breaks the promise. */
const LATENESS_MAX_MS = 1_000;

export const FAULT_DEMOS: Record<FaultDemoName, FaultDemo> = {
  freeze: {
    title: 'everything in the VM stops during the build',
    from: 'building',
    timeouts: { heartbeatTimeoutMs: 20_000 },
    expected: { verdict: 'vm_silent', cause: 'vm_frozen' },
    verdictWithinMs: 30_000,
  },
  crash: {
    title: 'the VM crashes during the build',
    from: 'building',
    timeouts: { heartbeatTimeoutMs: 20_000 },
    expected: { verdict: 'vm_exited', cause: 'vm_exited' },
    // The verdict comes at once, long before any deadline.
    verdictWithinMs: 10_000,
  },
  'disk-full': {
    title: "the VM's disk fills up during the build",
    from: 'building',
    timeouts: { heartbeatTimeoutMs: 20_000 },
    expected: { verdict: 'build_failed', cause: 'disk_full' },
    verdictWithinMs: 60_000,
  },
  'no-ssh': {
    title: 'the VM boots, but refuses SSH',
    from: 'boot',
    timeouts: { heartbeatTimeoutMs: 20_000, bootTimeoutMs: 100_000 },
    expected: { verdict: 'health_check_failed', step: 'ssh' },
    verdictWithinMs: 180_000,
  },
};

export interface Finding {
  good: boolean;
  text: string;
}

/**
 * Judges the outcome. Pure. `sinceFaultMs` is the time from the injection to the verdict, by the demo's own
 * clock.
 */
export function judgeOutcome(
  { expected, verdictWithinMs }: FaultDemo,
  attempt: AttemptView | undefined,
  sinceFaultMs: number,
): Finding[] {
  const { verdict = null, cause = null, latenessMs = null } = attempt ?? {};
  const findings = [
    {
      good: verdict?.code === expected.verdict && (expected.step === undefined || verdict.step === expected.step),
      text: `verdict ${wordsOf(verdict?.code, verdict?.step)}, expected ${wordsOf(expected.verdict, expected.step)}`,
    },
    {
      good: sinceFaultMs <= verdictWithinMs,
      text: `verdict ${(sinceFaultMs / 1_000).toFixed(1)} s after the fault, allowed are ${verdictWithinMs / 1_000} s`,
    },
  ];
  if (expected.cause)
    findings.push({
      good: cause?.code === expected.cause,
      text: `cause ${cause?.code ?? 'none'}, expected ${expected.cause}`,
    });
  if (latenessMs !== null)
    findings.push({
      good: latenessMs >= 0 && latenessMs <= LATENESS_MAX_MS,
      text: `verdict ${Math.round(latenessMs)} ms after its deadline, allowed are ${LATENESS_MAX_MS} ms`,
    });
  return findings;
}

const wordsOf = (code = 'none', step: string | null = null) => (step ? `${code}: ${step}` : code);
