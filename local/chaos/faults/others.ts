/** Lists the faults of the controller, of the build itself, and of its user. */
import { type Fault, MOMENTS } from './fault.ts';

export const OTHER_FAULTS: readonly Fault[] = [
  {
    kind: 'controller-killed',
    title: 'the controller is killed and started again',
    inject: { on: 'controller' },
    moments: MOMENTS,
    ends: ['succeeded'],
    everyRounds: 3,
  },
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
