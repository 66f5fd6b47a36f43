/**
 * The closed table of every command that runs in a guest. ssh.ts accepts nothing else.
 *
 * Invariant: a script is a constant. Whatever varies reaches it as a quoted positional argument or on standard input, never as
 * script text; whatever is secret travels on standard input alone, because `ps` shows arguments to every process of the guest.
 *
 * A Mac's sshd hands the text to zsh with PATH `/usr/bin:/bin:/usr/sbin:/sbin`; hence bash (3.2 there) is named by its path, and
 * nothing is used that macOS lacks (setsid, timeout, flock, options of GNU tools). `$TARTBEAT_ROOT` is empty in real images.
 */

declare const guestCommandBrand: unique symbol;

export interface GuestCommand {
  /** For logs and errors. Says nothing secret. */
  readonly name: string;
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

function guest(name: string, script: string, args: readonly string[] = [], input: Buffer | null = null): GuestCommand {
  const words = ['exec /bin/bash -c', shellQuote(script), shellQuote(name), ...args.map(shellQuote)];
  return { name, text: words.join(' '), input } as GuestCommand;
}

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const TOKEN = /^[\x21-\x7e]{1,2048}$/;
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

function id(value: string, what: string): string {
  if (!ID.test(value)) throw new GuestArgumentError(`${what} is not a plain identifier: ${JSON.stringify(value)}`);
  return value;
}

function whole(value: number, what: string, min = 0, max = Number.MAX_SAFE_INTEGER): string {
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw new GuestArgumentError(`${what} must be a whole number from ${min} to ${max}, not ${value}`);
  return String(value);
}

/** As the monitor reads it: a plain decimal number, fractions for tests. */
function seconds(value: number): string {
  if (!(value >= 0.1 && value <= 86_400)) throw new GuestArgumentError(`not an interval: ${value} s`);
  return String(Math.round(value * 1000) / 1000);
}

function httpUrl(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new GuestArgumentError(`not an http(s) URL: ${JSON.stringify(value)}`);
  return value.replace(/\/+$/, '');
}

/** A path below the source's root, as `find` printed it or as a glob's fixed part. */
function sourcePath(path: string): string {
  if (path === '' || path.startsWith('/') || path.includes('\0') || path.split('/').includes('..'))
    throw new GuestArgumentError(`not a path inside the source: ${JSON.stringify(path)}`);
  return path.startsWith('./') || path === '.' ? path : `./${path}`;
}

/** `BUILD-ATTEMPT`: the folder below `$HOME/.tartbeat`. */
export function stateName({ buildId, attempt }: AttemptKey): string {
  return `${id(buildId, 'buildId')}-${whole(attempt, 'attempt', 1, 1_000_000)}`;
}

/** Every script about an attempt begins with this; its first argument is always the state's name. */
const STATE = 'state="$HOME/.tartbeat/$1"; root="$TARTBEAT_ROOT"; log="$root/tmp/build.log"; ';

/** A zombie is not alive; where nobody reaps, `kill -0` would call it so. */
const ALIVE = 'alive() { case "$(ps -o stat= -p "$1" 2>/dev/null)" in "" | Z*) return 1 ;; esac; }; ';

/** What the monitor and the build both find in their environment. $2 build, $3 attempt. */
const EXPORTS = 'export TARTBEAT_STATE="$state" TARTBEAT_BUILD_ID="$2" TARTBEAT_ATTEMPT="$3"; ';

function onAttempt(name: string, key: AttemptKey, script: string, args: string[] = [], input: Buffer | null = null) {
  return guest(name, STATE + script, [stateName(key), key.buildId, String(key.attempt), ...args], input);
}

// ── Health checks ───────────────────────────────────────────────────────────────────────────────────────────────────────

export const echoAlive = (): GuestCommand => guest('echoAlive', 'echo alive');

export const diskFree = (): GuestCommand => guest('diskFree', 'df -k /');

export const macAddresses = (): GuestCommand => guest('macAddresses', 'ifconfig');

/** Prints the seconds since 1970. */
export const readClock = (): GuestCommand => guest('readClock', 'date -u +%s');

/** macOS's date: MMDDhhmmYYYY.SS. Needs sudo without a password, which the base image has. */
export function setClock(nowMs: number): GuestCommand {
  const [year, month, day, hour, minute, second] = new Date(nowMs).toISOString().split(/[-T:.]/);
  return guest('setClock', 'sudo -n date -u "$1" >/dev/null', [`${month}${day}${hour}${minute}${year}.${second}`]);
}

export const hasMonitor = (): GuestCommand =>
  guest('hasMonitor', 'f="$TARTBEAT_ROOT/usr/local/bin/vm-monitor.sh"; [ -x "$f" ] && echo "$f"');

export const hasCurl = (): GuestCommand => guest('hasCurl', 'command -v curl && curl --version');

/** Prints the body, then the HTTP status on a line of its own. `-q` first: a .curlrc in the image must not interfere. */
export const controllerHealth = (controllerUrl: string): GuestCommand =>
  guest(
    'controllerHealth',
    `curl -q -sS --connect-timeout 5 --max-time 10 --proto =http,https -w '\\n%{http_code}\\n' "$1"`,
    [`${httpUrl(controllerUrl)}/health`],
  );

/** Prints what vm-image/verify.sh finds, as JSON; nothing in an image that does not have it. */
export const verifyImage = (): GuestCommand =>
  guest(
    'verifyImage',
    'f="$TARTBEAT_ROOT/usr/local/bin/tartbeat-verify"; [ ! -x "$f" ] || "$f" --json </dev/null; exit 0',
  );

// ── Monitor ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Starts the monitor detached, its token on standard input, and answers with its process group. The subshell leads the group, so
 * that one signal to the group reaches the monitor too. A monitor that already runs is stopped first: two would beat twice.
 */
export function startMonitor(
  key: AttemptKey & { controllerUrl: string; workerId: string; token: string; intervalSeconds: number },
): GuestCommand {
  if (!TOKEN.test(key.token)) throw new GuestArgumentError('the monitor token is not one printable word');
  return onAttempt(
    'startMonitor',
    key,
    `${EXPORTS}mkdir -p "$state" && chmod 700 "$state" || exit 1
IFS= read -r token || exit 1
[ -f "$state/monitor.pgid" ] && kill -TERM -- "-$(cat "$state/monitor.pgid")" 2>/dev/null
set -m
( printf '%s\\n' "$token" | "$root/usr/local/bin/vm-monitor.sh" "$4" "$2" "$5" - "$6" ) >"$state/monitor.log" 2>&1 &
echo $! >"$state/monitor.pgid"; echo $!`,
    [httpUrl(key.controllerUrl), id(key.workerId, 'workerId'), seconds(key.intervalSeconds)],
    Buffer.from(`${key.token}\n`),
  );
}

/** Exit 0 while the monitor lives. */
export const monitorAlive = (key: AttemptKey): GuestCommand =>
  onAttempt('monitorAlive', key, `${ALIVE}[ -f "$state/monitor.pgid" ] && alive "$(cat "$state/monitor.pgid")"`);

/** Exit 0 when it is gone, however it went; it stops at once on SIGTERM, and is not asked twice. */
export const stopMonitor = (key: AttemptKey): GuestCommand =>
  onAttempt(
    'stopMonitor',
    key,
    `${ALIVE}[ -f "$state/monitor.pgid" ] || exit 0
pid=$(cat "$state/monitor.pgid"); kill -TERM -- "-$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do alive "$pid" || exit 0; sleep 0.2; done
kill -KILL -- "-$pid" 2>/dev/null; exit 0`,
  );

/** The last bytes that the monitor printed; empty while there are none. */
export const monitorLog = (key: AttemptKey, maxBytes = 16_384): GuestCommand =>
  onAttempt('monitorLog', key, '[ ! -f "$state/monitor.log" ] || tail -c "$4" "$state/monitor.log"', [
    whole(maxBytes, 'maxBytes', 1, 1_048_576),
  ]);

// ── Build ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Exit codes of unpackSource beside 0. */
export const UNPACK_TRUNCATED = 3;
export const UNPACK_REFUSED = 4;

/** Makes the attempt's folder, which only the build's user can read. Safe to repeat. */
export const prepareBuild = (key: AttemptKey): GuestCommand =>
  onAttempt('prepareBuild', key, 'mkdir -p "$state/source" "$root/tmp" && chmod 700 "$state"');

/**
 * The archive (tar, compressed or not) comes on standard input. It goes through a file: only so can a dropped connection be told
 * from the end, and only from a file do GNU tar and bsdtar alike see the compression by themselves. Safe to repeat.
 */
export const unpackSource = (key: AttemptKey & { archiveBytes: number }): GuestCommand =>
  onAttempt(
    'unpackSource',
    key,
    `mkdir -p "$state" && chmod 700 "$state" && cat >"$state/source.archive" || exit 1
[ "$(wc -c <"$state/source.archive")" -eq "$4" ] || exit ${UNPACK_TRUNCATED}
rm -rf "$state/source" && mkdir "$state/source" || exit 1
tar -xf "$state/source.archive" -C "$state/source" || exit ${UNPACK_REFUSED}
rm -f "$state/source.archive"`,
    [whole(key.archiveBytes, 'archiveBytes', 1)],
  );

/**
 * Starts the build detached and returns at once; a repeat finds it started and does nothing. The script on standard input holds the
 * environment and the command; its length is checked, since a connection that drops in the middle looks like its end, and half a
 * command is another command. It is removed as soon as bash has it open. The exit code is the name of an empty file: made in one step, and
 * possible on a full disk. On the log's side, stdout and stderr are one file, never a pipe: nothing waits for a reader.
 */
export function startBuild(key: AttemptKey & { command: string; env: Readonly<Record<string, string>> }): GuestCommand {
  if (key.command.includes('\0')) throw new GuestArgumentError('the build command contains a NUL character');
  const exports = Object.entries(key.env).map(([name, value]) => {
    if (!ENV_NAME.test(name)) throw new GuestArgumentError(`not a variable's name: ${JSON.stringify(name)}`);
    return `export ${name}=${shellQuote(value)}\n`;
  });
  const input = Buffer.from(`rm -f -- "$TARTBEAT_STATE/build.sh"\n${exports.join('')}${key.command}\n`);
  return onAttempt(
    'startBuild',
    key,
    `${EXPORTS}( umask 077; cat >"$state/build.tmp" ) || exit 1
[ "$(wc -c <"$state/build.tmp")" -eq "$4" ] || exit 3
mkdir "$state/started" 2>/dev/null || { rm -f "$state/build.tmp"; exit 0; }
mv "$state/build.tmp" "$state/build.sh" && mkdir -p "$root/tmp" && : >"$log" || exit 1
export CI=1
[ ! -d "$state/secrets" ] || export TARTBEAT_SECRETS="$state/secrets"
set -m
( cd "$state/source" && /bin/bash -l "$state/build.sh"; : >"$state/exit.$?" ) >>"$log" 2>&1 </dev/null &
echo $! >"$state/build.pgid"`,
    [String(input.length)],
    input,
  );
}

const SECRET_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** A file that only the build's user can read, in the folder that the build finds as $TARTBEAT_SECRETS. Whole or absent; safe to repeat. */
export function writeSecretFile(key: AttemptKey & { name: string; content: Buffer }): GuestCommand {
  if (!SECRET_NAME.test(key.name))
    throw new GuestArgumentError(`not a secret file's name: ${JSON.stringify(key.name)}`);
  return onAttempt(
    'writeSecretFile',
    key,
    `umask 077; mkdir -p "$state/secrets" && cat >"$state/secrets.tmp" || exit 1
[ "$(wc -c <"$state/secrets.tmp")" -eq "$5" ] || exit 3
mv "$state/secrets.tmp" "$state/secrets/$4"`,
    [key.name, String(key.content.length)],
    key.content,
  );
}

/** The secret files and the keychain that was made of them. Exit 0 always: the VM goes too. */
export const removeSecrets = (key: AttemptKey): GuestCommand =>
  onAttempt(
    'removeSecrets',
    key,
    `[ ! -f "$state/keychain" ] || TARTBEAT_STATE="$state" "$root/usr/local/bin/keychain" delete >/dev/null 2>&1
rm -rf "$state/secrets" "$state/secrets.tmp"; exit 0`,
  );

/**
 * Prints `alive=0|1`, `exit=N` (empty while there is none) and `size=BYTES` in this order of looking: a process seen dead has already
 * written its exit code, and a size read after the exit code covers all that the build printed. No line at all: not started.
 */
export const buildStatus = (key: AttemptKey): GuestCommand =>
  onAttempt(
    'buildStatus',
    key,
    `${ALIVE}[ -d "$state/started" ] || exit 0
up=0; alive "$(cat "$state/build.pgid" 2>/dev/null || echo 0)" && up=1
code=; for f in "$state"/exit.*; do [ -e "$f" ] && code="\${f##*.}"; done
echo "alive=$up"; echo "exit=$code"; echo "size=$(($(wc -c <"$log" 2>/dev/null || echo 0)))"`,
  );

/** Bytes of the log from `offset` (0 is the first), at most `maxBytes`. */
export const readLog = (offset: number, maxBytes: number): GuestCommand =>
  guest('readLog', 'tail -c "+$1" "$TARTBEAT_ROOT/tmp/build.log" | head -c "$2"', [
    whole(offset + 1, 'offset', 1),
    whole(maxBytes, 'maxBytes', 1, 64 * 1024 * 1024),
  ]);

/** TERM to the build's process group, KILL after 5 s. What made a session of its own ends with the VM. Exit 0 always. */
export const killBuild = (key: AttemptKey): GuestCommand =>
  onAttempt(
    'killBuild',
    key,
    `[ -f "$state/build.pgid" ] || exit 0
pid=$(cat "$state/build.pgid"); kill -TERM -- "-$pid" 2>/dev/null
members() { ps -axo pgid=,stat= | awk -v group="$pid" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }
i=0; while [ $i -lt 25 ] && members; do sleep 0.2; i=$((i+1)); done
kill -KILL -- "-$pid" 2>/dev/null; exit 0`,
  );

// ── Artifacts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Regular files below the given folders of the source (globs' fixed parts; `.` for all), without following links and without
 * node_modules and .git. Names end in NUL, an empty name ends the list, then come the sizes, one a line, in the same order. Parse with parseFileList.
 */
export const listFiles = (key: AttemptKey & { roots: readonly string[] }): GuestCommand =>
  onAttempt(
    'listFiles',
    key,
    `cd "$state/source" || exit 1; shift 3
find "$@" \\( -name node_modules -o -name .git \\) -prune -o -type f -print0 2>/dev/null >"$state/files"
cat "$state/files"; printf '\\0'
if stat -c %s / >/dev/null 2>&1; then xargs -0 stat -c %s -- <"$state/files"; else xargs -0 stat -f %z -- <"$state/files"; fi; exit 0`,
    (key.roots.length > 0 ? key.roots : ['.']).map(sourcePath), // BSD's find wants at least one
  );

/** The named files of the source as a tar archive on standard output. NUL-ended names are taken as they are by both tars. */
export const packFiles = (key: AttemptKey & { paths: readonly string[] }): GuestCommand =>
  onAttempt(
    'packFiles',
    key,
    'cd "$state/source" && COPYFILE_DISABLE=1 exec tar -cf - --null -T -',
    [],
    Buffer.from(key.paths.map((path) => `${sourcePath(path)}\0`).join('')),
  );

/**
 * A folder of the source, with the links in it, as a compressed archive on standard output. `gzip -n` keeps the time out of it: the same
 * files are the same archive, which a repeated upload then finds stored.
 */
export function packFolder(key: AttemptKey & { path: string }): GuestCommand {
  const parts = sourcePath(key.path).split('/');
  const script = 'set -o pipefail; cd "$state/source/$4" && COPYFILE_DISABLE=1 tar -cf - "./$5" | gzip -n';
  return onAttempt('packFolder', key, script, [parts.slice(0, -1).join('/'), parts.at(-1)!]);
}

/** One file of the source on standard output. */
export const readFile = (key: AttemptKey & { path: string }): GuestCommand =>
  onAttempt('readFile', key, 'cd "$state/source" && exec cat -- "$4"', [sourcePath(key.path)]);

// ── Evidence, end ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the guest looks like: disk, load, memory, the twenty largest processes. Names only: arguments may hold secrets. */
export const evidence = (): GuestCommand =>
  guest(
    'evidence',
    `echo '## disk'; df -k /; echo '## load'; uptime
echo '## memory'; vm_stat 2>/dev/null || cat /proc/meminfo 2>/dev/null | head -5
echo '## processes'; ps -axo pid,ppid,stat,rss,pcpu,comm | sort -k4 -nr | head -20; exit 0`,
  );

/** A real shutdown of the guest; `tart stop` alone is the power switch. */
export const shutdown = (): GuestCommand => guest('shutdown', 'sudo -n shutdown -h now');

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
