/**
 * Lists what `npm run chaos` breaks, as data: how, when, and the outcome that Tartbeat must reach. `title` is
 * the text of the fault table in docs/reliability.md. To add a fault, add a row.
 */
import type { Cause, Timeouts, Verdict } from '#contract';

/** How an attempt may end. */
export type Ending = 'succeeded' | Verdict;

/** Moments that every healthy attempt passes. The events of its agent show them. */
export const MOMENTS = ['claimed', 'running', 'connected', 'checked', 'building', 'collecting'] as const;
export type Moment = (typeof MOMENTS)[number];

export type Injection =
  /**
   * A fault of the simulator. It is on before the VM boots, or while the command runs. It ends after `forMs`.
   */
  | { on: 'vm'; fault: string; from: 'clone' | 'command'; forMs?: number }
  /** The injector kills `tart run` with SIGKILL. */
  | { on: 'tart_run' }
  /**
   * `kill` sends SIGKILL to the agent's process group and starts the agent again. `stop` sends SIGSTOP, and
   * SIGCONT after `forMs`. `withVm` stops the VM too.
   */
  | { on: 'agent'; action: 'kill' }
  | { on: 'agent'; action: 'stop'; forMs: number; withVm?: boolean }
  /**
   * The injector kills wrangler and workerd with SIGKILL, and starts the controller again on the same state.
   */
  | { on: 'controller' }
  /** The build itself has the flaw: see builds.ts. */
  | { on: 'build'; flaw: 'exits' | 'hangs' | 'endless' | 'no_artifact' | 'bad_archive' }
  | { on: 'user'; action: 'cancel' };

export interface Fault {
  kind: string;
  title: string;
  inject: Injection;
  /** The endings that are right for the attempt that meets the fault. */
  ends: readonly Ending[];
  /** The steps that are right, for verdicts that name a step. */
  steps?: readonly string[];
  /** The causes that are right, for verdicts that have a cause. */
  causes?: readonly Cause[];
  /** The moments at which the fault may strike. If absent, `inject` determines the moment. */
  moments?: readonly Moment[];
  timeouts?: Partial<Timeouts>;
  /** The plan uses the fault in one of this many rounds. Default 1. */
  everyRounds?: number;
}

/**
 * The timeouts of these builds. They are shorter than the defaults, but long enough for a machine that runs
 * the whole farm at once. The longest silence of a healthy build (209 s with a limit of 900 s) is scaled with
 * them.
 */
export const CHAOS_TIMEOUTS = {
  heartbeatTimeoutMs: 24_000,
  workerTimeoutMs: 32_000,
  bootTimeoutMs: 120_000,
  noOutputTimeoutMs: 60_000,
  buildTimeoutMs: 300_000,
  queueTimeoutMs: 1_800_000,
} as const satisfies Timeouts;
export const HEALTHY_SILENCE_MS = Math.round((CHAOS_TIMEOUTS.noOutputTimeoutMs * 209) / 900);

const asleepMs = CHAOS_TIMEOUTS.workerTimeoutMs * 1.5;
const vm = (fault: string, from: 'clone' | 'command', forMs?: number): Injection => ({ on: 'vm', fault, from, forMs });

export const FAULTS: readonly Fault[] = [
  // Faults of the VM before the command starts.
  {
    kind: 'clone-fails',
    title: '`tart clone` fails',
    inject: vm('clone-fail', 'clone'),
    ends: ['vm_start_failed'],
    steps: ['clone'],
  },
  {
    kind: 'set-fails',
    title: '`tart set` fails',
    inject: vm('set-fail', 'clone'),
    ends: ['vm_start_failed'],
    steps: ['set'],
  },
  {
    kind: 'run-fails',
    title: '`tart run` fails',
    inject: vm('run-fail', 'clone'),
    ends: ['vm_start_failed'],
    steps: ['run'],
  },
  {
    kind: 'vm-limit',
    title: 'two other VMs are running',
    inject: vm('run-limit', 'clone'),
    ends: ['vm_start_failed'],
    steps: ['run'],
  },
  {
    kind: 'never-boots',
    title: 'the VM never boots',
    inject: vm('boot-hang', 'clone'),
    ends: ['health_check_failed'],
    steps: ['vm_address'],
  },
  {
    kind: 'no-address',
    title: 'the VM never has an address',
    inject: vm('no-ip', 'clone'),
    ends: ['health_check_failed'],
    steps: ['vm_address'],
  },
  {
    kind: 'ssh-refuses',
    title: 'the VM refuses SSH',
    inject: vm('no-ssh', 'clone'),
    ends: ['health_check_failed'],
    steps: ['ssh'],
  },
  {
    kind: 'ssh-silent',
    title: 'the VM accepts SSH and is silent',
    inject: vm('ssh-hang', 'clone'),
    ends: ['health_check_failed'],
    steps: ['ssh'],
  },
  {
    kind: 'disk-full-at-boot',
    title: "the VM's disk is full at boot",
    inject: vm('disk-full', 'clone'),
    ends: ['health_check_failed'],
    steps: ['disk_space'],
    causes: ['disk_full'],
  },
  {
    kind: 'clone-hangs',
    title: '`tart clone` never ends',
    inject: vm('clone-hang', 'clone'),
    // A clone may take half of the boot timeout.
    ends: ['vm_start_failed'],
    steps: ['clone'],
    timeouts: { bootTimeoutMs: 30_000 },
  },
  { kind: 'boots-late', title: 'the VM boots 2 s late', inject: vm('slow-boot:2000', 'clone'), ends: ['succeeded'] },
  {
    kind: 'clock-wrong',
    title: "the VM's clock is an hour off",
    inject: vm('clock-skew:3600', 'clone'),
    ends: ['succeeded'],
  },
  // Faults of the VM while the command runs.
  {
    kind: 'frozen',
    title: 'everything in the VM stops',
    inject: vm('freeze', 'command'),
    ends: ['vm_silent'],
    causes: ['vm_frozen'],
  },
  {
    kind: 'crashed',
    title: 'the VM crashes, `tart run` exits with 0',
    inject: vm('crash', 'command'),
    ends: ['vm_exited'],
    causes: ['vm_exited'],
  },
  {
    kind: 'tart-run-killed',
    title: '`tart run` is killed',
    inject: { on: 'tart_run' },
    ends: ['vm_exited'],
    causes: ['vm_exited'],
  },
  {
    kind: 'monitor-killed',
    title: 'the monitor is killed once',
    inject: vm('monitor-kill:once', 'command'),
    ends: ['succeeded'],
  },
  {
    kind: 'monitor-kept-dead',
    title: 'the monitor is killed again and again',
    inject: vm('monitor-kill', 'command'),
    ends: ['vm_silent'],
    causes: ['monitor_died'],
  },
  {
    kind: 'vm-cut-off',
    title: "the VM's network is cut",
    inject: vm('net-cut', 'command'),
    ends: ['vm_silent'],
    causes: ['vm_network_down'],
  },
  {
    kind: 'disk-fills-up',
    title: "the VM's disk fills up",
    inject: vm('disk-full', 'command'),
    ends: ['build_failed', 'vm_silent'],
    causes: ['disk_full'],
  },
  { kind: 'ssh-drops', title: 'SSH is gone for 1.5 s', inject: vm('no-ssh', 'command', 1_500), ends: ['succeeded'] },
  {
    kind: 'ssh-dies',
    title: 'SSH is gone for good, the VM beats',
    inject: vm('no-ssh', 'command'),
    ends: ['transfer_failed'],
    steps: ['ssh'],
  },
  {
    kind: 'list-garbled',
    title: '`tart list` prints half an answer for 3 s',
    inject: vm('list-garbage', 'command', 3_000),
    ends: ['succeeded'],
  },
  {
    kind: 'delete-fails',
    title: '`tart delete` fails for 8 s',
    inject: vm('delete-fail', 'command', 8_000),
    ends: ['succeeded'],
  },
  // Faults of the agent and its Mac.
  {
    kind: 'agent-killed',
    title: 'the agent is killed and started again',
    inject: { on: 'agent', action: 'kill' },
    moments: MOMENTS,
    ends: ['succeeded'],
  },
  {
    kind: 'agent-pauses',
    title: 'the agent stands still for 2 s',
    inject: { on: 'agent', action: 'stop', forMs: 2_000 },
    moments: MOMENTS,
    ends: ['succeeded'],
  },
  {
    kind: 'agent-stops',
    title: 'the agent stands still past its deadline',
    inject: { on: 'agent', action: 'stop', forMs: asleepMs },
    moments: ['claimed', 'running', 'connected', 'building'],
    ends: ['worker_lost'],
    causes: ['host_asleep'],
  },
  {
    kind: 'mac-sleeps',
    title: 'agent and VM stand still past their deadlines',
    inject: { on: 'agent', action: 'stop', forMs: asleepMs, withVm: true },
    moments: ['building'],
    ends: ['worker_lost'],
    causes: ['host_asleep'],
  },
  // Faults of the controller.
  {
    kind: 'controller-killed',
    title: 'the controller is killed and started again',
    inject: { on: 'controller' },
    moments: MOMENTS,
    ends: ['succeeded'],
    everyRounds: 3,
  },
  // Faults of the build and its user.
  {
    kind: 'command-fails',
    title: 'the command exits with another code than 0',
    inject: { on: 'build', flaw: 'exits' },
    ends: ['build_failed'],
  },
  {
    kind: 'command-silent',
    title: 'the command prints nothing any more',
    inject: { on: 'build', flaw: 'hangs' },
    ends: ['no_output'],
  },
  {
    kind: 'command-endless',
    title: 'the command prints for ever',
    inject: { on: 'build', flaw: 'endless' },
    ends: ['build_timeout'],
    timeouts: { buildTimeoutMs: 60_000 },
  },
  {
    kind: 'artifact-missing',
    title: 'a required artifact is not made',
    inject: { on: 'build', flaw: 'no_artifact' },
    ends: ['artifact_missing'],
  },
  {
    kind: 'archive-broken',
    title: 'the source cannot be unpacked',
    inject: { on: 'build', flaw: 'bad_archive' },
    ends: ['source_invalid'],
  },
  {
    kind: 'cancelled',
    title: 'the build is cancelled',
    inject: { on: 'user', action: 'cancel' },
    moments: ['claimed', 'running', 'connected', 'checked', 'building'],
    ends: ['cancelled'],
  },
];

export const faultOf = (kind: string): Fault => {
  const fault = FAULTS.find((one) => one.kind === kind);
  if (!fault) throw new RangeError(`there is no fault ${kind}; there are: ${FAULTS.map((one) => one.kind).join(', ')}`);
  return fault;
};

/** True if the build must succeed in spite of the fault. */
export const isSurvived = ({ ends }: Fault): boolean => ends.includes('succeeded');
