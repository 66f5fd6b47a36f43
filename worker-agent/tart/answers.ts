/**
 * Turns Tart's output into values: its lists, its addresses, and its failure messages. Pure.
 *
 * Invariant: no other module matches Tart's words, and text that Tart would not print becomes a failure of
 * kind `garbage`.
 */
import { z } from 'zod';

export type TartStep =
  | 'version'
  | 'list'
  | 'get'
  | 'ip'
  | 'clone'
  | 'set'
  | 'run'
  | 'stop'
  | 'delete'
  | 'exec'
  | 'pull'
  | 'push'
  | 'fqn';

export type TartFailureKind =
  | 'no_tart' // tartPath cannot be executed
  | 'does_not_load' // macOS lacks a library that this Tart needs
  | 'timeout'
  | 'aborted'
  | 'not_found'
  | 'already_exists'
  | 'already_running'
  | 'not_running'
  | 'vm_limit'
  | 'disk_locked' // a process of an earlier VM still holds the disk
  | 'start_refused' // macOS refuses: nobody is logged in, or the keychain is locked
  | 'no_softnet' // it is not installed, or may not run as root
  | 'no_address'
  | 'no_guest_agent' // `tart exec` gets no answer: the VM has no guest agent, or is frozen
  | 'garbage' // Tart never gives such an answer
  | 'failed';

export interface TartFailure {
  ok: false;
  step: TartStep;
  kind: TartFailureKind;
  exitCode: number | null;
  /** One line for people. */
  message: string;
}

export type TartResult<T = object> = ({ ok: true } & T) | TartFailure;

const STATES = ['running', 'suspended', 'stopped'] as const;
type KnownState = (typeof STATES)[number];

export interface TartVm {
  name: string;
  source: 'local' | 'oci';
  /**
   * `unknown`: a newer Tart gives a state that this agent does not know, and does not say that the VM runs.
   */
  state: KnownState | 'unknown';
  /** When Tart last used it. Null if this Tart does not report it. */
  accessedAt: Date | null;
  /** Its room on the disk of the Mac, shared blocks included. Null if this Tart does not report it. */
  sizeGb: number | null;
}

/** Tart's words that decide the kind of a failure. The first pattern that matches counts. */
const MEANINGS: readonly (readonly [RegExp, TartFailureKind])[] = [
  [/dyld.*Library not loaded/, 'does_not_load'],
  [/exceeds the system limit/, 'vm_limit'],
  [/Failed to lock auxiliary storage/, 'disk_locked'],
  [/VZErrorDomain|HostKey/, 'start_refused'],
  // tcgetpgrp: Tart would ask for sudo's password on the terminal, and the agent has none.
  [/softnet not found|Softnet process terminated|tcgetpgrp\(2\) failed|Softnet executable with Sudo/, 'no_softnet'],
  [/the specified VM .* does not exist/, 'not_found'],
  [/failed to open lock file/, 'not_found'],
  [/^(Error: )?VM .* already exists, use --overwrite/m, 'already_exists'],
  [/ is already running!/, 'already_running'],
  [/^VM .* is running$/m, 'already_running'],
  [/ is not running/, 'not_running'],
  [/no IP address found/, 'no_address'],
  [/Failed to connect to the VM using its control socket|GRPCConnectionPoolError/, 'no_guest_agent'],
];

/**
 * `Disk` is not read, because from Tart 2.39 on it may be null: for a running VM of the format ASIF. Tart
 * before 2.31 prints other keys beside these. Older versions print Running, newer ones State as well. A state
 * that this agent does not know must not hide the other VMs.
 */
const TartList = z.array(
  z.looseObject({
    Name: z.string(),
    Source: z.string(),
    State: z.string().optional(),
    Running: z.boolean().optional(),
    Accessed: z.string().optional(),
    Size: z.number().nullish().catch(null),
  }),
);

export const failure = (
  step: TartStep,
  kind: TartFailureKind,
  exitCode: number | null,
  message: string,
): TartFailure => ({ ok: false, step, kind, exitCode, message });

/** The failure of a command that printed this text on standard error. */
export function failureOf(step: TartStep, exitCode: number | null, text: string): TartFailure {
  const kind = kindOf(text);
  const library = kind === 'does_not_load' && /Library not loaded: (?:@rpath\/)?(\S+)/.exec(text)?.[1];
  if (library) return failure(step, kind, exitCode, `this tart does not start on this macOS, which lacks ${library}`);
  return failure(step, kind, exitCode, `tart ${step}: ${lastLines(text, 3) || `exit code ${exitCode}`}`);
}

/** The failure of a `tart run` that has ended after it printed this text. */
export function runFailureOf(exitCode: number | null, text: string): TartFailure {
  const code = exitCode === null ? '' : ` (exit code ${exitCode})`;
  const words = lastLines(text, 5) || 'it printed nothing';
  return failure('run', kindOf(text), exitCode, `tart run ended${code}: ${words}`);
}

/** Reads the output of `tart list --format json`. */
export function vmsOf(stdout: string): TartResult<{ vms: TartVm[] }> {
  const parsed = TartList.safeParse(parseJson(stdout));
  if (!parsed.success) {
    const problem = z.prettifyError(parsed.error);
    return failure('list', 'garbage', 0, `tart list printed something that is not a list of VMs: ${problem}`);
  }
  const vms = parsed.data.map(
    ({ Name, Source, State, Running, Accessed, Size }): TartVm => ({
      name: Name,
      source: Source.toLowerCase() === 'local' ? 'local' : 'oci',
      state: stateOf(State, Running),
      accessedAt: dateOf(Accessed),
      sizeGb: Size ?? null,
    }),
  );
  return { ok: true, vms };
}

function dateOf(text: string | undefined): Date | null {
  const date = new Date(text ?? '');
  return Number.isNaN(date.getTime()) ? null : date;
}

function stateOf(state: string | undefined, running: boolean | undefined): TartVm['state'] {
  const known = STATES.find((one) => one === state);
  if (known) return known;
  if (running) return 'running';
  return state === undefined ? 'stopped' : 'unknown';
}

/** Reads the output of `tart ip`. */
export function addressOf(stdout: string): TartResult<{ address: string }> {
  const address = stdout.trim();
  if (z.ipv4().safeParse(address).success) return { ok: true, address };
  const printed = JSON.stringify(address.slice(0, 200));
  return failure('ip', 'garbage', 0, `tart ip printed ${printed}, which is not an IPv4 address`);
}

/** Undefined for text that is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const kindOf = (text: string): TartFailureKind => MEANINGS.find(([pattern]) => pattern.test(text))?.[1] ?? 'failed';

function lastLines(text: string, count: number): string {
  const lines = text.split('\n').map((line) => line.trim().replace(/^Error: /, ''));
  return lines
    .filter((line) => line !== '')
    .slice(-count)
    .join('; ')
    .slice(-1_000);
}
