/** The faults that the demo injects, as data: when, with which clocks, and what Tartbeat has to make of each. */
import type { AttemptView, BuildRequestInput, Cause, Verdict } from '#contract';
import type { FaultDemoName } from './options.ts';

export interface FaultDemo {
  /** Shown above it. */
  title: string;
  /** `boot`: the VM has it before it boots. `building`: it comes while the build command runs. */
  from: 'boot' | 'building';
  /** Shorter than the defaults, so that nobody has to wait; the smallest that the deployed controller takes. */
  timeouts: BuildRequestInput['timeouts'];
  expected: { verdict: Verdict; step?: string; cause?: Cause };
  /** From the fault to the verdict. */
  verdictWithinMs: number;
}

/** Beyond it the promise of a verdict at its deadline is broken. */
export const LATENESS_MAX_MS = 1_000;

export const FAULT_DEMOS: Record<FaultDemoName, FaultDemo> = {
  freeze: {
    title: 'everything in the VM stops in mid-build',
    from: 'building',
    timeouts: { heartbeatTimeoutMs: 20_000 },
    expected: { verdict: 'vm_silent', cause: 'vm_frozen' },
    verdictWithinMs: 30_000,
  },
  crash: {
    title: 'the VM crashes in mid-build',
    from: 'building',
    timeouts: { heartbeatTimeoutMs: 20_000 },
    expected: { verdict: 'vm_exited', cause: 'vm_exited' },
    // At once: long before silence could have become a verdict.
    verdictWithinMs: 10_000,
  },
  'disk-full': {
    title: "the VM's disk fills up in mid-build",
    from: 'building',
    timeouts: { heartbeatTimeoutMs: 20_000 },
    expected: { verdict: 'build_failed', cause: 'disk_full' },
    verdictWithinMs: 60_000,
  },
  'no-ssh': {
    title: 'the VM boots, but nobody can log in',
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

/** Pure. `sinceFaultMs` from the injection to the verdict, by the clock of whoever watched. */
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
      text: `${(sinceFaultMs / 1_000).toFixed(1)} s after the fault, at most ${verdictWithinMs / 1_000} s`,
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
      text: `${Math.round(latenessMs)} ms after its deadline, at most ${LATENESS_MAX_MS} ms`,
    });
  return findings;
}

const wordsOf = (code = 'none', step: string | null = null) => (step ? `${code}: ${step}` : code);
