/**
 * The closed list of every command that runs in a guest. ssh.ts accepts nothing else.
 *
 * Invariant: a command is a script of guest-scripts.ts with arguments of the kinds that stand there, quoted here and nowhere else.
 */
import { ARGUMENT_KINDS, type ArgumentKind, GUEST_SCRIPTS, type GuestScript, type GuestScriptName } from './scripts.ts';

export { UNPACK_REFUSED, UNPACK_TRUNCATED } from './scripts.ts';

declare const guestCommandBrand: unique symbol;

export interface GuestCommand {
  /** For logs and errors. Says nothing secret. */
  readonly name: GuestScriptName;
  /** What sshd is given. */
  readonly text: string;
  /** Standard input that belongs to the command: secrets, long scripts, lists. */
  readonly input: Buffer | null;
  readonly [guestCommandBrand]: true;
}

/** Thrown for an argument that no honest caller passes; the agent refuses such an assignment. */
export class GuestArgumentError extends Error {
  override name = 'GuestArgumentError';
}

/** One build's place in the guest. Both become part of a path, so both are held to what is safe in one. */
export interface AttemptKey {
  buildId: string;
  attempt: number;
}

/** The one place where anything is quoted for a shell. Single quotes leave nothing special but the quote itself. */
export function shellQuote(value: string): string {
  if (value.includes('\0')) throw new GuestArgumentError('a shell argument cannot contain a NUL character');
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

function guest(name: GuestScriptName, args: readonly string[] = [], input: Buffer | null = null): GuestCommand {
  const { script, arguments: kinds }: GuestScript = GUEST_SCRIPTS[name];
  for (const [index, value] of args.entries()) {
    const kind = (kinds[index] ?? kinds.at(-1))!.replace('...', '') as ArgumentKind;
    if (!ARGUMENT_KINDS[kind].test(value) || value.includes('\0'))
      throw new GuestArgumentError(`${name}: not a ${kind}: ${JSON.stringify(value)}`);
  }
  const words = ['exec /bin/bash -c', shellQuote(script), shellQuote(name), ...args.map(shellQuote)];
  return { name, text: words.join(' '), input } as GuestCommand;
}

const TOKEN = /^[\x21-\x7e]{1,2048}$/;
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

function whole(value: number, what: string, min = 0, max = Number.MAX_SAFE_INTEGER): string {
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw new GuestArgumentError(`${what} must be a whole number from ${min} to ${max}, not ${value}`);
  return String(value);
}

function seconds(value: number): string {
  if (!(value >= 0.1 && value <= 86_400)) throw new GuestArgumentError(`not an interval: ${value} s`);
  return String(Math.round(value * 1000) / 1000);
}

const withoutSlash = (url: string) => url.replace(/\/+$/, '');

/** A path below the source's root, as `find` printed it or as a glob's fixed part. */
function sourcePath(path: string): string {
  const inside = path.startsWith('./') || path === '.' ? path : `./${path}`;
  if (path === '' || path.startsWith('/') || path.includes('\0') || !ARGUMENT_KINDS.path.test(inside))
    throw new GuestArgumentError(`not a path inside the source: ${JSON.stringify(path)}`);
  return inside;
}

/** `BUILD-ATTEMPT`: the folder below `$HOME/.tartbeat`. */
export function stateName({ buildId, attempt }: AttemptKey): string {
  if (!ARGUMENT_KINDS.id.test(buildId)) throw new GuestArgumentError(`not a build's id: ${JSON.stringify(buildId)}`);
  return `${buildId}-${whole(attempt, 'attempt', 1, 1_000_000)}`;
}

function onAttempt(name: GuestScriptName, key: AttemptKey, args: string[] = [], input: Buffer | null = null) {
  return guest(name, [stateName(key), key.buildId, String(key.attempt), ...args], input);
}

// ── Health checks ───────────────────────────────────────────────────────────────────────────────────────────────────────

export const echoAlive = (): GuestCommand => guest('echoAlive');

export const diskFree = (): GuestCommand => guest('diskFree');

export const macAddresses = (): GuestCommand => guest('macAddresses');

/** Prints the seconds since 1970. */
export const readClock = (): GuestCommand => guest('readClock');

export function setClock(nowMs: number): GuestCommand {
  const [year, month, day, hour, minute, second] = new Date(nowMs).toISOString().split(/[-T:.]/);
  return guest('setClock', [`${month}${day}${hour}${minute}${year}.${second}`]);
}

export const hasMonitor = (): GuestCommand => guest('hasMonitor');

export const hasCurl = (): GuestCommand => guest('hasCurl');

/** Prints the body, then the HTTP status on a line of its own. */
export const controllerHealth = (controllerUrl: string): GuestCommand =>
  guest('controllerHealth', [`${withoutSlash(controllerUrl)}/health`]);

/** Prints what vm-image/verify.sh finds, as JSON; nothing in an image that does not have it. */
export const verifyImage = (): GuestCommand => guest('verifyImage');

/** Prints the version of the vm-ssh-gate that the key is tied to; an empty line if it is free. */
export const gate = (): GuestCommand => guest('gate');

// ── Monitor ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Starts the monitor detached, its token on standard input, and answers with its process group. */
export function startMonitor(
  key: AttemptKey & { controllerUrl: string; workerId: string; token: string; intervalSeconds: number },
): GuestCommand {
  if (!TOKEN.test(key.token)) throw new GuestArgumentError('the monitor token is not one printable word');
  return onAttempt(
    'startMonitor',
    key,
    [withoutSlash(key.controllerUrl), key.workerId, seconds(key.intervalSeconds)],
    Buffer.from(`${key.token}\n`),
  );
}

/** Exit 0 while the monitor lives. */
export const monitorAlive = (key: AttemptKey): GuestCommand => onAttempt('monitorAlive', key);

/** Exit 0 when it is gone, however it went. */
export const stopMonitor = (key: AttemptKey): GuestCommand => onAttempt('stopMonitor', key);

/** The last bytes that the monitor printed; empty while there are none. */
export const monitorLog = (key: AttemptKey, maxBytes = 16_384): GuestCommand =>
  onAttempt('monitorLog', key, [whole(maxBytes, 'maxBytes', 1, 1_048_576)]);

// ── Build ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Makes the attempt's folder. Safe to repeat. */
export const prepareBuild = (key: AttemptKey): GuestCommand => onAttempt('prepareBuild', key);

/** The archive comes on standard input. Safe to repeat. */
export const unpackSource = (key: AttemptKey & { archiveBytes: number }): GuestCommand =>
  onAttempt('unpackSource', key, [whole(key.archiveBytes, 'archiveBytes', 1)]);

/** Starts the build detached and returns at once. Its script is removed as soon as bash has it open. */
export function startBuild(key: AttemptKey & { command: string; env: Readonly<Record<string, string>> }): GuestCommand {
  if (key.command.includes('\0')) throw new GuestArgumentError('the build command contains a NUL character');
  const exports = Object.entries(key.env).map(([name, value]) => {
    if (!ENV_NAME.test(name)) throw new GuestArgumentError(`not a variable's name: ${JSON.stringify(name)}`);
    return `export ${name}=${shellQuote(value)}\n`;
  });
  const input = Buffer.from(`rm -f -- "$TARTBEAT_STATE/build.sh"\n${exports.join('')}${key.command}\n`);
  return onAttempt('startBuild', key, [String(input.length)], input);
}

/** A file that only the build's user can read, in the folder that the build finds as $TARTBEAT_SECRETS. Safe to repeat. */
export const writeSecretFile = (key: AttemptKey & { name: string; content: Buffer }): GuestCommand =>
  onAttempt('writeSecretFile', key, [key.name, String(key.content.length)], key.content);

/** The secret files and the keychain that was made of them. Exit 0 always: the VM goes too. */
export const removeSecrets = (key: AttemptKey): GuestCommand => onAttempt('removeSecrets', key);

/** Parse with parseBuildStatus. */
export const buildStatus = (key: AttemptKey): GuestCommand => onAttempt('buildStatus', key);

/** Bytes of the log from `offset` (0 is the first), at most `maxBytes`. */
export const readLog = (offset: number, maxBytes: number): GuestCommand =>
  guest('readLog', [whole(offset + 1, 'offset', 1), whole(maxBytes, 'maxBytes', 1, 64 * 1024 * 1024)]);

/** Exit 0 always. */
export const killBuild = (key: AttemptKey): GuestCommand => onAttempt('killBuild', key);

// ── Artifacts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Regular files below the given folders of the source (globs' fixed parts; `.` for all), without following links and without
 * node_modules and .git. Parse with parseFileList.
 */
export const listFiles = (key: AttemptKey & { roots: readonly string[] }): GuestCommand =>
  onAttempt('listFiles', key, (key.roots.length > 0 ? key.roots : ['.']).map(sourcePath)); // BSD's find wants at least one

/** The named files of the source as a tar archive on standard output. */
export const packFiles = (key: AttemptKey & { paths: readonly string[] }): GuestCommand =>
  onAttempt('packFiles', key, [], Buffer.from(key.paths.map((path) => `${sourcePath(path)}\0`).join('')));

/**
 * A folder of the source, with the links in it, as a compressed archive on standard output. `gzip -n` keeps the time out of it: the same
 * files are the same archive, which a repeated upload then finds stored.
 */
export function packFolder(key: AttemptKey & { path: string }): GuestCommand {
  const parts = sourcePath(key.path).split('/');
  return onAttempt('packFolder', key, [parts.slice(0, -1).join('/') || '.', parts.at(-1)!]);
}

/** One file of the source on standard output. */
export const readFile = (key: AttemptKey & { path: string }): GuestCommand =>
  onAttempt('readFile', key, [sourcePath(key.path)]);

// ── Evidence, end ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the guest looks like: disk, load, memory, the twenty largest processes. */
export const evidence = (): GuestCommand => guest('evidence');

export const shutdown = (): GuestCommand => guest('shutdown');

// ── What the commands print ─────────────────────────────────────────────────────────────────────────────────────────────

/** Bytes available, from `df -k`; null if it is not such a table. A long device name may put the figures on a line of their own. */
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

export type BuildStatus =
  | { state: 'not_started' }
  | { state: 'running'; logBytes: number }
  | { state: 'ended'; exitCode: number; logBytes: number }
  /** Neither alive nor ended: killed, or the guest has restarted. */
  | { state: 'lost'; logBytes: number };

export function parseBuildStatus(stdout: string): BuildStatus | null {
  if (stdout === '') return { state: 'not_started' };
  const match = /^alive=([01])\nexit=(\d*)\nsize=(\d+)\n$/.exec(stdout);
  if (!match) return null;
  const logBytes = Number(match[3]);
  if (match[2] !== '') return { state: 'ended', exitCode: Number(match[2]), logBytes };
  return match[1] === '1' ? { state: 'running', logBytes } : { state: 'lost', logBytes };
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
