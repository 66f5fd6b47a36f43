/** Lists the faults of the VM while the command runs. */
import { SCRIPT } from '../builds.ts';
import { CHAOS_TIMEOUTS, type Fault, vm } from './fault.ts';

/** A Mac restarts in 30 s to 60 s, which is a quarter to a half of the default heartbeatTimeout. */
const RESTART_MS = CHAOS_TIMEOUTS.heartbeatTimeoutMs / 3;

export const RUNNING_VM_FAULTS: readonly Fault[] = [
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
    inject: vm('short-freeze:4000', 'command'),
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
    kind: 'network-gone',
    title: 'the VM lives without any network, without SSH too',
    inject: vm('net-gone', 'command'),
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
    causes: ['sshd_died'],
  },
  {
    kind: 'list-garbled',
    title: '`tart list` prints half an answer for 3 s',
    inject: vm('list-garbage', 'command', 3_000),
    ends: ['succeeded'],
  },
  {
    kind: 'list-races',
    title: 'one `tart list` in three fails, because other VMs are deleted',
    inject: vm('list-race', 'command'),
    ends: ['succeeded'],
  },
  {
    kind: 'disk-unknown',
    title: '`tart list` does not know how large the disk of the VM is',
    inject: vm('disk-null', 'command'),
    ends: ['succeeded'],
  },
  {
    kind: 'delete-lies',
    title: '`tart delete` says once that the VM does not exist, and deletes nothing',
    inject: vm('delete-lies', 'command'),
    ends: ['succeeded'],
  },
  {
    kind: 'delete-fails',
    title: '`tart delete` fails for 8 s',
    inject: vm('delete-fail', 'command', 8_000),
    ends: ['succeeded'],
  },
];
