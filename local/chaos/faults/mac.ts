/** Lists the faults of the agent and its Mac: deaths, pauses and sleeps, and a network that is cut. */
import { CHAOS_TIMEOUTS, type Fault, MOMENTS } from './fault.ts';

const ASLEEP_MS = CHAOS_TIMEOUTS.workerTimeoutMs * 1.5;
/** Several deadlines pass while the Mac sleeps. */
const LONG_ASLEEP_MS = CHAOS_TIMEOUTS.workerTimeoutMs * 4;
/** Half of the shortest deadline: a beat was due a quarter of it before, and comes a quarter of it later. */
const NAP_MS = CHAOS_TIMEOUTS.heartbeatTimeoutMs / 2;
/** Long enough that an agent which another Mac may replace has given up its build by itself. */
const CUT_OFF_MS = CHAOS_TIMEOUTS.workerTimeoutMs * 2;

export const MAC_FAULTS: readonly Fault[] = [
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
];
