/**
 * Reads what the commands in a guest print. Pure.
 *
 * Invariant: an answer that was cut short is no answer. It becomes null, and the caller asks again or gives
 * up.
 */
import { type ScriptsSeen, VERSION } from './scripts.ts';

/** The exit code with which vm-ssh-gate refuses. */
const GATE_REFUSES = 126;

/** Exit codes of unpackSource beside 0. */
export const UNPACK_TRUNCATED = 3;
export const UNPACK_REFUSED = 4;

/** Exit code of writeSecretFile: the source has something else at the place of the file, or above it. */
export const PLACE_TAKEN = 5;

/** HUP, KILL and TERM: the signals that a system sends to its processes when it goes down. */
const SYSTEM_SIGNALS: readonly (string | null)[] = ['HUP', 'KILL', 'TERM'];
const SYSTEM_EXIT_CODES: readonly (number | null)[] = [129, 137, 143];

/** True if the system of the guest may have ended the command. */
export const isEndedBySystem = (end: { exitCode: number | null; exitSignal?: string | null }): boolean =>
  SYSTEM_SIGNALS.includes(end.exitSignal ?? '') || SYSTEM_EXIT_CODES.includes(end.exitCode);

/** Of installScripts: the files that arrived are not those that were sent. */
export const SCRIPTS_DAMAGED = 3;

/**
 * Reads the output of whichScripts. Null if neither a shell nor a gate has answered. A gate from before guest
 * scripts refuses the question.
 */
export function parseScriptsSeen(answer: { exitCode: number | null; stdout: Buffer }): ScriptsSeen | null {
  const [first, ...lines] = answer.stdout.toString('utf8').split('\n');
  if (first === '' && answer.exitCode === GATE_REFUSES) return { tied: true, versions: [] };
  if (first !== 'alive') return null;
  const versions = lines.flatMap((line) => {
    const [folder, file] = line.split('/').slice(-2);
    return file === 'table' && VERSION.test(folder!) ? [folder!] : [];
  });
  return { tied: lines[0] === 'vm-ssh-gate', versions };
}

/**
 * Bytes available, from `df -k`; null if it is not such a table. A long device name may put the figures on a
 * line of their own.
 */
export function parseDiskFree(stdout: string): { totalBytes: number; availableBytes: number } | null {
  const figures = stdout
    .split('\n')
    .slice(1)
    .join(' ')
    .match(/\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%/);
  return figures && { totalBytes: Number(figures[1]) * 1024, availableBytes: Number(figures[3]) * 1024 };
}

/** Every hardware address that ifconfig shows, normalised. */
export function parseMacAddresses(stdout: string): string[] {
  return [...stdout.matchAll(/\bether\s+([0-9a-f:]+)/gi)]
    .map((match) => normaliseMac(match[1]!))
    .filter((mac) => mac !== null);
}

/** macOS prints `a:b:c:d:e:f` where Tart's config says `0a:0b:…`; both become the long lower-case form. */
export function normaliseMac(mac: string): string | null {
  const parts = mac.trim().toLowerCase().split(':');
  if (parts.length !== 6 || parts.some((part) => !/^[0-9a-f]{1,2}$/.test(part))) return null;
  return parts.map((part) => part.padStart(2, '0')).join(':');
}

/** The resources that the account of the build has used so far. */
export interface Usage {
  /** When the guest looked, by its own clock. */
  atMs: number;
  /** CPU time of all processes of the account without the agent's own. It never falls. */
  cpuMs: number;
  /** Received and sent. Null if the guest cannot tell. */
  networkBytes: number | null;
}

export type BuildStatus =
  | { state: 'not_started' }
  /** `usage` is null if the guest cannot tell. */
  | { state: 'running'; logBytes: number; usage: Usage | null }
  | { state: 'ended'; exitCode: number; logBytes: number; restarted: boolean }
  /** Neither alive nor ended: something killed it, or the guest has restarted. */
  | { state: 'lost'; logBytes: number; restarted: boolean };

export function parseBuildStatus(stdout: string): BuildStatus | null {
  if (stdout === '') return { state: 'not_started' };
  // Guest scripts of older releases do not say whether the guest has restarted, nor what the build uses.
  const match = /^alive=([01])\nexit=(\d*)\n(?:restarted=([01])\n)?((?:\w+=\d*\n)*)size=(\d+)\n$/.exec(stdout);
  if (!match) return null;
  const logBytes = Number(match[5]);
  const restarted = match[3] === '1';
  if (match[2] !== '') return { state: 'ended', exitCode: Number(match[2]), logBytes, restarted };
  if (match[1] === '1') return { state: 'running', logBytes, usage: parseUsage(match[4]!) };
  return { state: 'lost', logBytes, restarted };
}

/** Reads the usage from `build usage`, or from `build status` of a running build. Null if there is none. */
export function parseUsage(stdout: string): Usage | null {
  const match = /^sampled=(\d+)\ncpu=(\d+)\nbytes=(\d*)\n$/.exec(stdout);
  if (!match) return null;
  const networkBytes = match[3] === '' ? null : Number(match[3]);
  return { atMs: Number(match[1]) * 1_000, cpuMs: Number(match[2]), networkBytes };
}

/** The app that `build app` prints. Null if the output is no app. Each field may have any value. */
export function parseAskedApp(stdout: string): { id: string; version?: string; buildNumber?: number } | null {
  try {
    const { id, version, buildNumber } = JSON.parse(stdout);
    if (typeof id !== 'string') return null;
    return {
      id,
      ...(typeof version === 'string' && { version }),
      ...(typeof buildNumber === 'number' && { buildNumber }),
    };
  } catch {
    return null;
  }
}

/** How many processes macOS has killed for memory, from what `evidence look` prints. 0 if it does not say. */
export function parseMemoryKills(stdout: string): number {
  return Number(/^## killed for memory\n(\d+)$/m.exec(stdout)?.[1] ?? 0);
}

/** Paths relative to the source's root, without `./`. Null if a file vanished in between: ask again. */
export function parseFileList(stdout: Buffer): { path: string; sizeBytes: number }[] | null {
  const text = stdout.toString('utf8');
  const end = text.startsWith('\0') ? 0 : text.indexOf('\0\0') + 1;
  if (end === 0 && !text.startsWith('\0')) return null;
  const paths = text.slice(0, end).split('\0').slice(0, -1);
  const sizes = text
    .slice(end + 1)
    .split('\n')
    .filter((line) => /^\d+$/.test(line));
  if (sizes.length !== paths.length) return null;
  return paths.map((path, index) => ({ path: path.replace(/^\.\//, ''), sizeBytes: Number(sizes[index]) }));
}

/** How many files with secrets cleanForKeeping has deleted. */
export const parseFilesDeleted = (stdout: string): number => Number(/^files=(\d+)$/m.exec(stdout)?.[1] ?? 0);
