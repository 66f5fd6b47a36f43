/**
 * Lists every command that runs in a guest over SSH. The connection accepts nothing else. By `tart exec` the
 * agent also runs `true`, and the look of `vm/second-way.ts`.
 *
 * Invariant: a command is one of five fixed texts, or names a row of the table of guest scripts
 * (vm-image/guest/table) with arguments of the kinds that stand there. Secrets travel on standard input
 * alone.
 */
import {
  type AttemptKey,
  checkArguments,
  ENV_NAME,
  GuestArgumentError,
  seconds,
  shellQuote,
  sourcePath,
  stateName,
  TOKEN,
  whole,
  withoutSlash,
} from './arguments.ts';
import { inWordsOf, ownScripts } from './scripts.ts';

declare const guestCommandBrand: unique symbol;

export interface GuestCommand {
  /** For logs and errors: file and subcommand of a guest script. Says nothing secret. */
  readonly name: string;
  /**
   * The text for sshd, if the VM's commands run with scripts of this version. Throws if the version is null
   * and the command needs scripts.
   */
  text(version: string | null): string;
  /** Standard input that belongs to the command: secrets, long scripts, lists. */
  readonly input: Buffer | null;
  readonly [guestCommandBrand]: true;
}

/**
 * A command that every VM understands, whatever scripts it has; a tied key may run all of them but the last
 * two.
 */
const fixed = (name: string, text: string, input: Buffer | null = null) =>
  ({ name, text: () => text, input }) as unknown as GuestCommand;

function script(name: string, args: readonly string[] = [], input: Buffer | null = null): GuestCommand {
  const kinds = ownScripts().table.get(name);
  if (!kinds) throw new GuestArgumentError(`there is no command ${name} in the table of guest scripts`);
  checkArguments(name, kinds, args);
  const text = (version: string | null) => {
    if (version === null) throw new Error(`${name} was asked of a VM before its guest scripts were known`);
    const [called, ...words] = inWordsOf(version, name, args);
    const [file, subcommand] = called.split(' ');
    return [`exec ~/.tartbeat/guest/${version}/${file}.sh`, ...[subcommand!, ...words].map(shellQuote)].join(' ');
  };
  return { name, text, input } as unknown as GuestCommand;
}

function onAttempt(name: string, key: AttemptKey, args: string[] = [], input: Buffer | null = null): GuestCommand {
  return script(name, [stateName(key), key.buildId, String(key.attempt), ...args], input);
}

// ── Before the scripts of a VM are known ─────────────────────────────────────────────────────────

export const echoAlive = (): GuestCommand => fixed('echo alive', 'echo alive');

/**
 * Which guest scripts the VM has, and whether the key is tied to vm-ssh-gate. Parse with parseScriptsSeen.
 */
export const whichScripts = (): GuestCommand => fixed('which scripts', 'echo alive; ls ~/.tartbeat/guest/*/table');

export const macAddresses = (): GuestCommand => fixed('ifconfig', 'ifconfig');

const INSTALL = `new="$HOME/.tartbeat/new-$$"
mkdir -p "$new" && tar -xf - -C "$new" && /bin/bash "$new/install.sh" "$0"; code=$?
rm -rf "$new"; exit $code`;

/**
 * Brings these scripts, as a tar archive, into a VM with a free key. They are unpacked beside their place;
 * their own install.sh checks them against the version and renames the folder. Safe to repeat.
 */
export const installScripts = ({ version, archive }: { version: string; archive: Buffer }): GuestCommand =>
  fixed('install scripts', `exec /bin/bash -c ${shellQuote(INSTALL)} ${shellQuote(version)}`, archive);

/**
 * A login shell as the build had it, in the folder of its source. TERM is `dumb`, because the terminal obeys
 * colours alone.
 */
export const shellText = (key: AttemptKey): string =>
  `cd ~/.tartbeat/${stateName(key)}/source 2>/dev/null || cd; TERM=dumb; export TERM; exec /bin/bash -l`;

/**
 * The same on a terminal of the guest's own, for a way in that can give it none. It keeps this size, and
 * comes from script(1) of macOS, or of Linux, where the simulator runs.
 */
export function shellOnTerminalText(key: AttemptKey, { rows, columns }: { rows: number; columns: number }): string {
  const text = shellQuote(`stty rows ${whole(rows, 'rows')} columns ${whole(columns, 'columns')}; ${shellText(key)}`);
  return `[ "$(uname)" != Darwin ] || exec /usr/bin/script -q /dev/null /bin/bash -c ${text}; exec script -qefc ${text} /dev/null`;
}

export const openShell = (key: AttemptKey): GuestCommand => fixed('shell', shellText(key));

// ── Health checks ────────────────────────────────────────────────────────────────────────────────

export const diskFree = (): GuestCommand => script('checks disk');

/** Prints the seconds since 1970. */
export const readClock = (): GuestCommand => script('checks clock');

export function setClock(nowMs: number): GuestCommand {
  const [year, month, day, hour, minute, second] = new Date(nowMs).toISOString().split(/[-T:.]/);
  return script('checks set-clock', [`${month}${day}${hour}${minute}${year}.${second}`]);
}

export const hasMonitor = (): GuestCommand => script('checks monitor');

export const hasCurl = (): GuestCommand => script('checks curl');

/** Prints the body, then the HTTP status on a line of its own. */
export const controllerHealth = (controllerUrl: string): GuestCommand =>
  script('checks controller', [`${withoutSlash(controllerUrl)}/health`]);

/** Prints the findings of vm-image/verify.sh as JSON. Prints nothing in an image that lacks the script. */
export const verifyImage = (): GuestCommand => script('checks image');

// ── Monitor ──────────────────────────────────────────────────────────────────────────────────────

/** Starts the monitor detached, its token on standard input, and answers with its process group. */
export function startMonitor(
  key: AttemptKey & { controllerUrl: string; workerId: string; token: string; intervalSeconds: number },
): GuestCommand {
  if (!TOKEN.test(key.token)) throw new GuestArgumentError('the monitor token is not one printable word');
  return onAttempt(
    'monitor-control start',
    key,
    [withoutSlash(key.controllerUrl), key.workerId, seconds(key.intervalSeconds)],
    Buffer.from(`${key.token}\n`),
  );
}

/** Exit 0 while the monitor lives. */
export const monitorAlive = (key: AttemptKey): GuestCommand => onAttempt('monitor-control alive', key);

/** Exit 0 once the monitor no longer runs, however it ended. */
export const stopMonitor = (key: AttemptKey): GuestCommand => onAttempt('monitor-control stop', key);

/** The last bytes that the monitor printed; empty while there are none. */
export const monitorLog = (key: AttemptKey, maxBytes = 16_384): GuestCommand =>
  onAttempt('monitor-control log', key, [whole(maxBytes, 'maxBytes', 1, 1_048_576)]);

// ── Build ────────────────────────────────────────────────────────────────────────────────────────

/** Makes the attempt's folder. Safe to repeat. */
export const prepareBuild = (key: AttemptKey): GuestCommand => onAttempt('inputs prepare', key);

/** The archive comes on standard input. Safe to repeat. */
export const unpackSource = (key: AttemptKey & { archiveBytes: number }): GuestCommand =>
  onAttempt('inputs unpack', key, [whole(key.archiveBytes, 'archiveBytes', 1)]);

/** Starts the build detached and returns at once. Its script is removed as soon as bash has it open. */
export function startBuild(key: AttemptKey & { command: string; env: Readonly<Record<string, string>> }): GuestCommand {
  if (key.command.includes('\0')) throw new GuestArgumentError('the build command contains a NUL character');
  const exports = Object.entries(key.env).map(([name, value]) => {
    if (!ENV_NAME.test(name)) throw new GuestArgumentError(`not a variable's name: ${JSON.stringify(name)}`);
    return `export ${name}=${shellQuote(value)}\n`;
  });
  const input = Buffer.from(`rm -f -- "$TARTBEAT_STATE/build.sh"\n${exports.join('')}${key.command}\n`);
  return onAttempt('build start', key, [String(input.length)], input);
}

/**
 * A file that only the build's user can read, at its path in the source and in the folder that the build
 * finds as $TARTBEAT_SECRETS. Exit code {@link PLACE_TAKEN} if the source has something else there. Safe to
 * repeat.
 */
export const writeSecretFile = (key: AttemptKey & { path: string; content: Buffer }): GuestCommand =>
  onAttempt('inputs secret', key, [key.path, String(key.content.length)], key.content);

/**
 * Deletes the secret files at all their places, the keychain that was made of them, and the files for private
 * access. Exit 0 always, because the VM is destroyed too.
 */
export const removeSecrets = (key: AttemptKey): GuestCommand => onAttempt('inputs remove-secrets', key);

/** Parse with parseBuildStatus. */
export const buildStatus = (key: AttemptKey): GuestCommand => onAttempt('build status', key);

/** Measures the usage of the account anew, also before the build is started. Parse with parseUsage. */
export const buildUsage = (key: AttemptKey): GuestCommand => onAttempt('build usage', key);

/** Bytes of the log from `offset` (0 is the first), at most `maxBytes`. */
export const readLog = (offset: number, maxBytes: number): GuestCommand =>
  script('log read', [whole(offset + 1, 'offset', 1), whole(maxBytes, 'maxBytes', 1, 64 * 1024 * 1024)]);

/**
 * The state of the build, and its log from `offset` on, as frames, for as long as somebody reads them. A
 * status comes at least once in `looks` looks. Read with framesOf.
 */
export const followBuild = (key: AttemptKey & { offset: number; looks: number }): GuestCommand =>
  onAttempt('log follow', key, [whole(key.offset + 1, 'offset', 1), whole(key.looks, 'looks', 1, 1000)]);

/** The app that the build asks a number for. Parse with parseAskedApp. */
export const askedApp = (key: AttemptKey): GuestCommand => onAttempt('build app', key);

/** Hands the build its number. Safe to repeat. */
export function giveNumber(key: AttemptKey & { number: number }): GuestCommand {
  const input = Buffer.from(`${whole(key.number, 'number', 1)}\n`);
  return onAttempt('build number', key, [String(input.length)], input);
}

/** Exit 0 always. */
export const killBuild = (key: AttemptKey): GuestCommand => onAttempt('build kill', key);

// ── Artifacts ────────────────────────────────────────────────────────────────────────────────────

/**
 * Regular files below the given folders of the source (globs' fixed parts; `.` for all), without following
 * links and without node_modules and .git. Parse with parseFileList.
 */
export const listFiles = (key: AttemptKey & { roots: readonly string[] }): GuestCommand =>
  onAttempt('artifacts list', key, (key.roots.length > 0 ? key.roots : ['.']).map(sourcePath)); // BSD's find wants at least one

/** The named files of the source as a tar archive on standard output. */
export const packFiles = (key: AttemptKey & { paths: readonly string[] }): GuestCommand =>
  onAttempt('artifacts pack-files', key, [], Buffer.from(key.paths.map((path) => `${sourcePath(path)}\0`).join('')));

/**
 * A folder of the source, with the links in it, as a compressed archive on standard output. `gzip -n` keeps
 * the time out of it, so the same files are the same archive, which a repeated upload then finds stored.
 */
export function packFolder(key: AttemptKey & { path: string }): GuestCommand {
  const parts = sourcePath(key.path).split('/');
  return onAttempt('artifacts pack-folder', key, [parts.slice(0, -1).join('/') || '.', parts.at(-1)!]);
}

/** One file of the source on standard output. */
export const readFile = (key: AttemptKey & { path: string }): GuestCommand =>
  onAttempt('artifacts read-file', key, [sourcePath(key.path)]);

// ── Evidence, end ────────────────────────────────────────────────────────────────────────────────

/** Prints the state of the guest: disk, load, memory, the twenty largest processes. */
export const evidence = (): GuestCommand => script('evidence look');

/** The processes of the account of the build, with their arguments. Parse with parseProcesses. */
export const buildProcesses = (key: AttemptKey): GuestCommand => onAttempt('evidence processes', key);

/**
 * Ends the processes of the build, removes its secrets and every file of the last `minutes` that has one of
 * the texts, and cuts the network. Exit 0 only if all of it was done. Parse with parseFilesDeleted. Safe to
 * repeat.
 */
export const cleanForKeeping = (key: AttemptKey & { texts: Buffer; minutes: number }): GuestCommand =>
  onAttempt('kept clean', key, [String(key.texts.length), whole(key.minutes, 'minutes', 1)], key.texts);

export const shutdown = (): GuestCommand => script('power shut-down');
