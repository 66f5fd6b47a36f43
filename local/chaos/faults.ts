/**
 * Lists the faults of `npm run chaos` as data: how each is injected, when, and how the attempt must end.
 *
 * Invariant: a new fault takes one new row. Every fault that ends an attempt names the right causes.
 * docs/reliability.md has the same table, and a test compares the two.
 */
import type { Cause, Timeouts, Verdict } from '#contract';
import { SCRIPT } from './builds.ts';

/** How an attempt may end. */
export type Ending = 'succeeded' | Verdict;

/** Moments that every healthy attempt passes. The events of its agent show them. */
export const MOMENTS = ['claimed', 'running', 'connected', 'checked', 'building', 'collecting'] as const;
export type Moment = (typeof MOMENTS)[number];

export type Injection =
  /**
   * A fault of the simulator, set before the VM boots or while the command runs. It is cleared after
   * `forMs`.
   */
  | { on: 'vm'; fault: string; from: 'clone' | 'command'; forMs?: number }
  /** The injector kills `tart run` with SIGKILL. */
  | { on: 'tart_run' }
  /** SIGKILL of the agent's process group and a new start. `withVm` kills `tart run` in between. */
  | { on: 'agent'; action: 'kill'; withVm?: boolean }
  /** SIGSTOP of the agent, and SIGCONT after `forMs`. `withVm` stops the VM for the same time. */
  | { on: 'agent'; action: 'stop'; forMs: number; withVm?: boolean }
  /** Neither the agent nor the VMs of one Mac reach the controller, for so long. */
  | { on: 'network'; forMs: number }
  /** SIGKILL of wrangler and workerd, and a new start on the same state. */
  | { on: 'controller' }
  /** The build itself is at fault: see builds.ts. */
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
  /** Right causes of these endings. Null: no cause may be shown. */
  causes?: readonly (Cause | null)[];
  /** The attempt is handed back, and the build goes on with another one. */
  handedBack?: true;
  /** At which moments the fault may come. Without them the injection decides. */
  moments?: readonly Moment[];
  timeouts?: Partial<Timeouts>;
  /** The fault is dealt in one of so many rounds. Default 1. */
  everyRounds?: number;
}

/**
 * Scaled down from the defaults, but not so far that a machine with a whole farm on it is too slow for
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
/**
 * The longest silence seen in a healthy iOS build is 209 s of the 900 s. It is scaled down in the same way.
 */
export const HEALTHY_SILENCE_MS = Math.round((CHAOS_TIMEOUTS.noOutputTimeoutMs * 209) / 900);

const ASLEEP_MS = CHAOS_TIMEOUTS.workerTimeoutMs * 1.5;
/** Several deadlines pass while the Mac sleeps. */
const LONG_ASLEEP_MS = CHAOS_TIMEOUTS.workerTimeoutMs * 4;
/** Half of the shortest deadline: a beat was due a quarter of it before, and comes a quarter of it later. */
const NAP_MS = CHAOS_TIMEOUTS.heartbeatTimeoutMs / 2;
/** So long that an agent which another Mac may replace has given its build up by itself. */
const CUT_OFF_MS = CHAOS_TIMEOUTS.workerTimeoutMs * 2;
/** A Mac restarts in 30 s to 60 s, which is a quarter to a half of the default heartbeatTimeout. */
const RESTART_MS = CHAOS_TIMEOUTS.heartbeatTimeoutMs / 3;
const vm = (fault: string, from: 'clone' | 'command', forMs?: number): Injection => ({ on: 'vm', fault, from, forMs });

export const FAULTS: readonly Fault[] = [
  // Faults of the VM before the command starts.
  {
    kind: 'clone-fails',
    title: '`tart clone` fails: no space on the disk of the Mac',
    inject: vm('clone-fail', 'clone'),
    ends: ['vm_start_failed'],
    steps: ['clone'],
    causes: ['host_disk_full'],
  },
  {
    kind: 'set-fails',
    title: '`tart set` fails',
    inject: vm('set-fail', 'clone'),
    ends: ['vm_start_failed'],
    steps: ['set'],
    causes: ['unknown'],
  },
  {
    kind: 'run-fails',
    title: '`tart run` fails',
    inject: vm('run-fail', 'clone'),
    ends: ['vm_start_failed'],
    steps: ['run'],
    causes: ['unknown'],
  },
  {
    kind: 'vm-limit',
    title: 'two other VMs are running',
    inject: vm('run-limit', 'clone'),
    ends: ['vm_start_failed'],
    steps: ['run'],
    causes: ['vm_limit'],
    handedBack: true,
  },
  {
    kind: 'never-boots',
    title: 'the VM never boots',
    inject: vm('boot-hang', 'clone'),
    ends: ['health_check_failed'],
    steps: ['vm_address'],
    causes: ['unknown'],
  },
  {
    kind: 'no-address',
    title: 'the VM never has an address',
    inject: vm('no-ip', 'clone'),
    ends: ['health_check_failed'],
    steps: ['vm_address'],
    causes: ['unknown'],
  },
  {
    kind: 'ssh-refuses',
    title: 'the VM refuses SSH',
    inject: vm('no-ssh', 'clone'),
    ends: ['health_check_failed'],
    steps: ['ssh'],
    causes: ['unknown'],
  },
  {
    kind: 'ssh-silent',
    title: 'the VM accepts SSH and is silent',
    inject: vm('ssh-hang', 'clone'),
    ends: ['health_check_failed'],
    steps: ['ssh'],
    causes: ['unknown'],
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
    kind: 'cut-off-at-boot',
    title: "the VM's network is cut at boot",
    inject: vm('net-cut', 'clone'),
    ends: ['health_check_failed'],
    steps: ['controller'],
    causes: ['vm_network_down'],
  },
  {
    kind: 'clone-hangs',
    title: '`tart clone` never ends',
    inject: vm('clone-hang', 'clone'),
    // A clone may take half of the time to boot.
    ends: ['vm_start_failed'],
    steps: ['clone'],
    causes: ['unknown'],
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
    kind: 'guest-restarts',
    title: 'macOS in the VM restarts, `tart run` lives on',
    inject: vm(`guest-reboot:${RESTART_MS}`, 'command'),
    ends: ['vm_exited'],
    steps: ['restart'],
    causes: ['vm_restarted'],
  },
  {
    kind: 'guest-panics',
    title: 'macOS in the VM panics and starts again',
    inject: vm(`guest-panic:${RESTART_MS}`, 'command'),
    ends: ['vm_exited'],
    steps: ['restart'],
    causes: ['vm_restarted'],
  },
  {
    kind: 'guest-stays-down',
    title: 'macOS in the VM restarts and never comes back',
    inject: vm('dead-restart', 'command'),
    ends: ['vm_silent'],
    causes: ['vm_frozen'],
  },
  {
    kind: 'memory-runs-out',
    title: 'the VM kills the command for want of memory',
    inject: vm(`out-of-memory:bash ${SCRIPT}`, 'command'),
    ends: ['build_failed'],
    causes: ['out_of_memory'],
  },
  {
    kind: 'freezes-briefly',
    title: 'everything in the VM stops for 4 s',
    inject: vm('freeze', 'command', 4_000),
    ends: ['succeeded'],
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
    causes: ['unknown'],
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
    kind: 'agent-and-vm-killed',
    title: 'the agent and `tart run` are killed, the agent is started again',
    inject: { on: 'agent', action: 'kill', withVm: true },
    moments: ['checked', 'building'],
    ends: ['worker_restarted'],
    causes: ['vm_exited'],
  },
  {
    kind: 'agent-stops',
    title: 'the agent stands still past its deadline',
    inject: { on: 'agent', action: 'stop', forMs: ASLEEP_MS },
    moments: ['claimed', 'running', 'connected', 'checked', 'building'],
    ends: ['worker_lost'],
    causes: ['host_asleep'],
  },
  {
    kind: 'mac-naps',
    title: 'agent and VM stand still for half of a deadline',
    inject: { on: 'agent', action: 'stop', forMs: NAP_MS, withVm: true },
    moments: ['running', 'connected', 'checked', 'building'],
    ends: ['succeeded'],
  },
  {
    kind: 'mac-sleeps',
    title: 'agent and VM stand still past their deadlines',
    inject: { on: 'agent', action: 'stop', forMs: ASLEEP_MS, withVm: true },
    moments: ['running', 'connected', 'checked', 'building'],
    ends: ['worker_lost'],
    causes: ['host_asleep'],
  },
  {
    kind: 'mac-sleeps-long',
    title: 'agent and VM stand still for four deadlines',
    inject: { on: 'agent', action: 'stop', forMs: LONG_ASLEEP_MS, withVm: true },
    moments: ['running', 'checked', 'building'],
    ends: ['worker_lost'],
    causes: ['host_asleep'],
    everyRounds: 2,
  },
  {
    kind: 'mac-cut-off',
    title: 'the Mac and its VM cannot reach the controller',
    inject: { on: 'network', forMs: CUT_OFF_MS },
    moments: ['claimed', 'connected', 'building'],
    ends: ['worker_lost'],
    causes: ['host_network_down'],
  },
  // The controller.
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
    causes: [null],
  },
  {
    kind: 'command-silent',
    title: 'the command prints nothing any more',
    inject: { on: 'build', flaw: 'hangs' },
    ends: ['no_output'],
    causes: [null],
  },
  {
    kind: 'command-endless',
    title: 'the command prints for ever',
    inject: { on: 'build', flaw: 'endless' },
    ends: ['build_timeout'],
    causes: [null],
    timeouts: { buildTimeoutMs: 60_000 },
  },
  {
    kind: 'artifact-missing',
    title: 'a required artifact is not made',
    inject: { on: 'build', flaw: 'no_artifact' },
    ends: ['artifact_missing'],
    causes: [null],
  },
  {
    kind: 'archive-broken',
    title: 'the source cannot be unpacked',
    inject: { on: 'build', flaw: 'bad_archive' },
    ends: ['source_invalid'],
    causes: [null],
  },
  {
    kind: 'cancelled',
    title: 'the build is cancelled',
    inject: { on: 'user', action: 'cancel' },
    moments: ['claimed', 'running', 'connected', 'checked', 'building'],
    ends: ['cancelled'],
    causes: [null],
  },
];

export const faultOf = (kind: string): Fault => {
  const fault = FAULTS.find((one) => one.kind === kind);
  if (!fault)
    throw new RangeError(`There is no fault ${kind}. There are: ${FAULTS.map((one) => one.kind).join(', ')}.`);
  return fault;
};

/** True if the build must come to its own end although the fault met it. */
export const isSurvived = ({ ends }: Fault): boolean => ends.includes('succeeded');
