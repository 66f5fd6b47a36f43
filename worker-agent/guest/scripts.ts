/**
 * Every script that ever runs in a guest, as data: guest-commands.ts builds commands of it, and vm-image/vm-ssh-gate, which can tie the
 * agent's key to these alone, is made of it (guest-gate.ts).
 *
 * Invariant: a script is a constant. Whatever varies reaches it as a positional argument of a kind named here, or on standard input;
 * whatever is secret travels on standard input alone, because `ps` shows arguments to every process of the guest.
 *
 * A Mac's sshd hands the text to zsh with PATH `/usr/bin:/bin:/usr/sbin:/sbin`; hence bash (3.2 there) is named by its path, and
 * nothing is used that macOS lacks (setsid, timeout, flock, options of GNU tools). `$TARTBEAT_ROOT` is empty in real images.
 */

/** What an argument may be. vm-ssh-gate checks the same, written once more in sh; a test compares the two. */
export const ARGUMENT_KINDS = {
  id: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  /** `BUILD-ATTEMPT`: the folder below `$HOME/.tartbeat`. */
  state: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}-[1-9][0-9]{0,6}$/,
  count: /^(0|[1-9][0-9]{0,15})$/,
  /** As the monitor reads it: a plain decimal number, fractions for tests. */
  seconds: /^[0-9]{1,5}([.][0-9]{1,3})?$/,
  /** macOS's date: MMDDhhmmYYYY.SS. */
  clock: /^[0-9]{12}[.][0-9]{2}$/,
  url: /^https?:\/\/[\][A-Za-z0-9:/._~%+=,-]{1,2048}$/,
  /** Below the source's root: `.` or `./…`, never up. */
  path: /^[.](\/(?![.][.](\/|$))[^/]*)*$/s,
  /** One step of such a path. */
  step: /^(?![.][.]$)[^/]+$/s,
  secret: /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/,
} as const;
export type ArgumentKind = keyof typeof ARGUMENT_KINDS;

export interface GuestScript {
  /** In order; a last one that ends in `...` may be repeated. */
  arguments: readonly (ArgumentKind | `${ArgumentKind}...`)[];
  script: string;
}

/** Every script about an attempt begins with this; its first argument is always the state's name. */
const STATE = 'state="$HOME/.tartbeat/$1"; root="$TARTBEAT_ROOT"; log="$root/tmp/build.log"; ';

/** A zombie is not alive; where nobody reaps, `kill -0` would call it so. */
const ALIVE = 'alive() { case "$(ps -o stat= -p "$1" 2>/dev/null)" in "" | Z*) return 1 ;; esac; }; ';

/** What the monitor and the build both find in their environment. $2 build, $3 attempt. */
const EXPORTS = 'export TARTBEAT_STATE="$state" TARTBEAT_BUILD_ID="$2" TARTBEAT_ATTEMPT="$3"; ';

/** Exit codes of unpackSource beside 0. */
export const UNPACK_TRUNCATED = 3;
export const UNPACK_REFUSED = 4;

function onAttempt(script: string, ...more: GuestScript['arguments']): GuestScript {
  return { arguments: ['state', 'id', 'count', ...more], script: STATE + script };
}

function always(script: string, ...kinds: GuestScript['arguments']): GuestScript {
  return { arguments: kinds, script };
}

export const GUEST_SCRIPTS = {
  // ── Health checks
  echoAlive: always('echo alive'),
  diskFree: always('df -k /'),
  macAddresses: always('ifconfig'),
  /** Seconds since 1970. */
  readClock: always('date -u +%s'),
  /** Needs sudo without a password, which the base image has. */
  setClock: always('sudo -n date -u "$1" >/dev/null', 'clock'),
  hasMonitor: always('f="$TARTBEAT_ROOT/usr/local/bin/vm-monitor.sh"; [ -x "$f" ] && echo "$f"'),
  hasCurl: always('command -v curl && curl --version'),
  /** `-q` first: a .curlrc in the image must not interfere. */
  controllerHealth: always(
    `curl -q -sS --connect-timeout 5 --max-time 10 --proto =http,https -w '\\n%{http_code}\\n' "$1"`,
    'url',
  ),
  verifyImage: always(
    'f="$TARTBEAT_ROOT/usr/local/bin/tartbeat-verify"; [ ! -x "$f" ] || "$f" --json </dev/null; exit 0',
  ),
  /** Which vm-ssh-gate this came through; empty without one. Never changes: any gate has to know it. */
  gate: always('echo "$TARTBEAT_GATE"'),

  // ── Monitor
  /**
   * Detached, its token on standard input. The subshell leads the process group, so that one signal to the group reaches the monitor
   * too. A monitor that already runs is stopped first: two would beat twice.
   */
  startMonitor: onAttempt(
    `${EXPORTS}mkdir -p "$state" && chmod 700 "$state" || exit 1
unset token; IFS= read -r token || exit 1
[ -f "$state/monitor.pgid" ] && kill -TERM -- "-$(cat "$state/monitor.pgid")" 2>/dev/null
set -m
( printf '%s\\n' "$token" | "$root/usr/local/bin/vm-monitor.sh" "$4" "$2" "$5" - "$6" ) >"$state/monitor.log" 2>&1 &
echo $! >"$state/monitor.pgid"; echo $!`,
    'url',
    'id',
    'seconds',
  ),
  monitorAlive: onAttempt(`${ALIVE}[ -f "$state/monitor.pgid" ] && alive "$(cat "$state/monitor.pgid")"`),
  /** It stops at once on SIGTERM, and is not asked twice. */
  stopMonitor: onAttempt(
    `${ALIVE}[ -f "$state/monitor.pgid" ] || exit 0
pid=$(cat "$state/monitor.pgid"); kill -TERM -- "-$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do alive "$pid" || exit 0; sleep 0.2; done
kill -KILL -- "-$pid" 2>/dev/null; exit 0`,
  ),
  monitorLog: onAttempt('[ ! -f "$state/monitor.log" ] || tail -c "$4" "$state/monitor.log"', 'count'),

  // ── Build
  /** The attempt's folder, which only the build's user can read. */
  prepareBuild: onAttempt('mkdir -p "$state/source" "$root/tmp" && chmod 700 "$state"'),
  /**
   * The archive (tar, compressed or not) goes through a file: only so can a dropped connection be told from the end, and only from a
   * file do GNU tar and bsdtar alike see the compression by themselves.
   */
  unpackSource: onAttempt(
    `mkdir -p "$state" && chmod 700 "$state" && cat >"$state/source.archive" || exit 1
[ "$(wc -c <"$state/source.archive")" -eq "$4" ] || exit ${UNPACK_TRUNCATED}
rm -rf "$state/source" && mkdir "$state/source" || exit 1
tar -xf "$state/source.archive" -C "$state/source" || exit ${UNPACK_REFUSED}
rm -f "$state/source.archive"`,
    'count',
  ),
  /**
   * Detached; a repeat finds it started and does nothing. The script on standard input holds the environment and the command; its length
   * is checked, since a connection that drops in the middle looks like its end, and half a command is another command. The exit code is the
   * name of an empty file: made in one step, and possible on a full disk. On the log's side, stdout and stderr are one file, never a pipe:
   * nothing waits for a reader.
   */
  startBuild: onAttempt(
    `${EXPORTS}( umask 077; cat >"$state/build.tmp" ) || exit 1
[ "$(wc -c <"$state/build.tmp")" -eq "$4" ] || exit 3
mkdir "$state/started" 2>/dev/null || { rm -f "$state/build.tmp"; exit 0; }
mv "$state/build.tmp" "$state/build.sh" && mkdir -p "$root/tmp" && : >"$log" || exit 1
export CI=1
[ ! -d "$state/secrets" ] || export TARTBEAT_SECRETS="$state/secrets"
set -m
( cd "$state/source" && /bin/bash -l "$state/build.sh"; : >"$state/exit.$?" ) >>"$log" 2>&1 </dev/null &
echo $! >"$state/build.pgid"`,
    'count',
  ),
  /** Whole or absent. */
  writeSecretFile: onAttempt(
    `umask 077; mkdir -p "$state/secrets" && cat >"$state/secrets.tmp" || exit 1
[ "$(wc -c <"$state/secrets.tmp")" -eq "$5" ] || exit 3
mv "$state/secrets.tmp" "$state/secrets/$4"`,
    'secret',
    'count',
  ),
  removeSecrets: onAttempt(
    `[ ! -f "$state/keychain" ] || TARTBEAT_STATE="$state" "$root/usr/local/bin/keychain" delete >/dev/null 2>&1
rm -rf "$state/secrets" "$state/secrets.tmp"; exit 0`,
  ),
  /**
   * `alive=0|1`, `exit=N` (empty while there is none) and `size=BYTES` in this order of looking: a process seen dead has already written its
   * exit code, and a size read after the exit code covers all that the build printed. No line at all: not started.
   */
  buildStatus: onAttempt(
    `${ALIVE}[ -d "$state/started" ] || exit 0
up=0; alive "$(cat "$state/build.pgid" 2>/dev/null || echo 0)" && up=1
code=; for f in "$state"/exit.*; do [ -e "$f" ] && code="\${f##*.}"; done
echo "alive=$up"; echo "exit=$code"; echo "size=$(($(wc -c <"$log" 2>/dev/null || echo 0)))"`,
  ),
  readLog: always('tail -c "+$1" "$TARTBEAT_ROOT/tmp/build.log" | head -c "$2"', 'count', 'count'),
  /** TERM to the build's process group, KILL after 5 s. What made a session of its own ends with the VM. */
  killBuild: onAttempt(
    `[ -f "$state/build.pgid" ] || exit 0
pid=$(cat "$state/build.pgid"); kill -TERM -- "-$pid" 2>/dev/null
members() { ps -axo pgid=,stat= | awk -v group="$pid" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }
i=0; while [ $i -lt 25 ] && members; do sleep 0.2; i=$((i+1)); done
kill -KILL -- "-$pid" 2>/dev/null; exit 0`,
  ),

  // ── Artifacts
  /**
   * Names end in NUL, an empty name ends the list, then come the sizes, one a line, in the same order. Looked for twice, since a list that is
   * kept needs a disk that is not full. `find` ends with 1 for a folder that it cannot read or that is not there; with more it has not run.
   */
  listFiles: onAttempt(
    `cd "$state/source" || exit 1; shift 3
list() { find "$@" \\( -name node_modules -o -name .git \\) -prune -o -type f -print0 2>/dev/null; [ $? -le 1 ]; }
list "$@" && printf '\\0' || exit 1
if stat -c %s / >/dev/null 2>&1; then list "$@" | xargs -0 stat -c %s --; else list "$@" | xargs -0 stat -f %z --; fi; exit 0`,
    'path...',
  ),
  /** NUL-ended names are taken as they are by both tars. */
  packFiles: onAttempt('cd "$state/source" && COPYFILE_DISABLE=1 exec tar -cf - --null -T -'),
  packFolder: onAttempt(
    'set -o pipefail; cd "$state/source/$4" && COPYFILE_DISABLE=1 tar -cf - "./$5" | gzip -n',
    'path',
    'step',
  ),
  readFile: onAttempt('cd "$state/source" && exec cat -- "$4"', 'path'),

  // ── Evidence, end
  /** Names of processes only: arguments may hold secrets. */
  evidence: always(
    `echo '## disk'; df -k /; echo '## load'; uptime
echo '## memory'; vm_stat 2>/dev/null || cat /proc/meminfo 2>/dev/null | head -5
echo '## processes'; ps -axo pid,ppid,stat,rss,pcpu,comm | sort -k4 -nr | head -20; exit 0`,
  ),
  /** A real shutdown of the guest; `tart stop` alone is the power switch. */
  shutdown: always('sudo -n shutdown -h now'),
} as const satisfies Record<string, GuestScript>;

export type GuestScriptName = keyof typeof GUEST_SCRIPTS;
