# shellcheck shell=sh
# Has the functions that the steps and the scripts in the folder above share. They source this file, which
# sets $here to their own folder and does nothing else by itself.
#
# A virtual machine starts a process slowly, and a check runs often. So a value that is needed more than once
# is kept in a variable, and the shell itself reads as much as it can.
#
# A step is one file: it sets title, defines check and apply, and ends with `step "$@"`.
#   check   changes nothing; calls found or missing, or unknown if it needs root and does not have it
#   apply   makes the change that check asks for, and runs each command through `attempt`
#
#   NN-name.sh           checks; if something is missing, applies and checks again;
#                        prints "ok: …", "changed: …" or "failed: …"
#   NN-name.sh --check   only checks; prints "ok: …", "missing: …" or "unknown: …"
# Exit codes: 0 ok or changed, 1 missing or failed, 3 unknown, 64 wrong arguments.
#
# Invariant: a step prints "ok" or "changed" only if its last check called found and no command of apply
# failed.
#
# Environment
#   TARTBEAT_USER      the account that builds run as; default: the user who called sudo, or who runs this
#   TARTBEAT_KEY_FILE  public key that may log in
#   TARTBEAT_KEY_USE, TARTBEAT_PACKET_FILTER   for restrict-key and private-networks
#   TARTBEAT_CALLER    name of the account that runs this, which provision.sh and verify.sh tell their steps
#   TARTBEAT_ROOT      put before every path of the VM; empty in real images, set by tests and the simulator
#
# Runs on macOS's sh and bash 3.2 with BSD tools, and on any POSIX shell.
set -u
LC_ALL=C
export LC_ALL
umask 022
PATH=${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin

here=${0%"${0##*/}"}
case $here in
  /*) ;;
  *) here=./$here ;;
esac
case $here in *./*) here=$(cd "$here" && pwd) ;; esac
here=${here%/}

root=${TARTBEAT_ROOT:-}
caller=${TARTBEAT_CALLER:-}
TARTBEAT_USER=${TARTBEAT_USER:-${SUDO_USER:-$(id -un)}}
export TARTBEAT_USER PATH
# shellcheck disable=SC2034 # read by the steps
brew_prefix=$root/opt/homebrew
# shellcheck disable=SC2034
share=$root/usr/local/share/tartbeat

# --- findings -------------------------------------------------------------------------------------

found() { outcome=ok detail=$*; }
missing() { outcome=missing detail=$*; }
unknown() { outcome=unknown detail=$*; }

one_line() {
  case $* in
    *[![:print:]]*) printf '%s' "$*" | tr '\000-\037\177' ' ' ;;
    *) printf '%s' "$*" ;;
  esac
}

# Sets `caller` to the name of the account that runs this.
find_caller() { [ -n "$caller" ] || caller=$(id -un); }

is_root() { find_caller && [ "$caller" = root ]; }

# --- what programs print --------------------------------------------------------------------------

# Sets `value` to the text after LABEL on its line of TEXT; empty if no line has it.
value_after() { # LABEL TEXT
  value=''
  case $2 in *"$1"*) ;; *) return 0 ;; esac
  value=${2#*"$1"}
  value=${value%%
*}
  value=${value#"${value%%[! ]*}"}
}

# Sets `version` to the word after PREFIX in TEXT, if that word begins with a digit; empty if no line begins
# with PREFIX and a digit. The last such line counts, because a profile may print lines of its own.
# shellcheck disable=SC2034
version_after() { # PREFIX TEXT
  version=''
  while IFS= read -r line; do
    case $line in "$1"[0-9]*) line=${line#"$1"} version=${line%% *} ;; esac
  done <<END
$2
END
}

# Compares the first two numbers of VERSION with those of MINIMUM.
is_at_least() { # VERSION MINIMUM
  set -- "${1%%.*}" "${1#*.}" "${2%%.*}" "${2#*.}"
  [ "$1" -gt "$3" ] || { [ "$1" -eq "$3" ] && [ "${2%%.*}" -ge "${4%%.*}" ]; }
} 2>/dev/null

# Sets `name` to the name of a step, which --only and --skip take: the file name without number and ending.
name_step() { # PATH
  name=${1##*/}
  name=${name#[0-9][0-9]-}
  name=${name%.sh}
}

# Sets outcome, detail, title and fix to the output of a step. A missing field is empty.
read_step() { # FILE
  outcome='' detail='' title='' fix=''
  while IFS= read -r line; do
    case $line in
      'title: '*) title=${line#title: } ;;
      'fix: '*) fix=${line#fix: } ;;
      *': '*) [ -n "$outcome" ] || outcome=${line%%: *} detail=${line#*: } ;;
    esac
  done <"$1"
}

look() {
  missing 'the check gave no result'
  check
  case $detail in *[![:print:]]*) detail=$(one_line "$detail") ;; esac
}

step() {
  name_step "$0"
  case $#:${1:-} in
    0: | 1:--check) ;;
    *)
      printf 'usage: %s [--check]\n' "$0" >&2
      exit 64
      ;;
  esac
  look
  if [ $# -eq 0 ] && [ "$outcome" != ok ]; then
    problem=
    if ! is_root; then
      problem='this changes the system and needs root: run it with sudo'
    elif ! apply >&2; then
      problem=${problem:-a command of this step failed}
    fi
    look
    if [ -n "$problem" ]; then
      outcome=failed
      detail="$(one_line "$problem")${detail:+ ($detail)}"
    elif [ "$outcome" = ok ]; then
      outcome=changed
    else
      outcome=failed
      detail="every command succeeded, but the check still finds: $detail"
    fi
  fi
  printf '%s: %s\n' "$outcome" "$detail"
  # shellcheck disable=SC2154 # set by the step
  printf 'title: %s\n' "$title"
  case $outcome in
    ok | changed) exit 0 ;;
  esac
  # A step may have used the variable for something else.
  name_step "$0"
  printf 'fix: %s\n' "${fix:-run: sudo sh ${here%/*}/provision.sh --only $name}"
  case $outcome in
    unknown) exit 3 ;;
    *) exit 1 ;;
  esac
}

# Runs one command of apply. Saves the first command that failed in `problem`, in a form that a person can
# type.
attempt() {
  "$@" && return 0
  attempt_code=$?
  case $1 in
    as_user) shift && set -- sudo -u "$TARTBEAT_USER" "$@" ;;
    as_brew) shift && set -- brew "$@" ;;
    as_build) shift ;;
  esac
  problem=${problem:-"'$*' failed with exit code $attempt_code"}
  return "$attempt_code"
}

# --- the account ----------------------------------------------------------------------------------

# Runs a command with the account that builds run as. Homebrew refuses root, and the files in the home of the
# account must belong to it.
as_user() {
  find_caller
  if [ "$caller" = "$TARTBEAT_USER" ]; then "$@"; else sudo -H -u "$TARTBEAT_USER" "$@"; fi
}

# Runs a command in a login bash, as the agent runs the command of a build, so that the PATH is the same.
as_build() { # COMMAND
  as_user /bin/bash -l -c "cd && $1" </dev/null
}

as_brew() {
  as_user env HOMEBREW_NO_AUTO_UPDATE=1 HOMEBREW_NO_ANALYTICS=1 HOMEBREW_NO_ENV_HINTS=1 NONINTERACTIVE=1 \
    "$brew_prefix/bin/brew" "$@" </dev/null
}

# Sets `home` to the home of the account; empty if there is no such account.
find_home() {
  value_after 'NFSHomeDirectory:' "$(dscl . -read "/Users/$TARTBEAT_USER" NFSHomeDirectory 2>/dev/null)"
  # shellcheck disable=SC2034 # read by the steps
  home=$value
}

# Prints the steps that this image says it leaves out, a line each.
skipped_in_image() {
  [ -r "$share/provisioned" ] || return 0
  while read -r key names; do
    [ "$key" = skipped ] || continue
    printf '%s\n' "$names" | tr ' ' '\n' | grep -x '[a-z-]*' | grep -vx none
  done <"$share/provisioned"
}

# The files of this folder that go into the image; the others are for the Mac. Prints them for the folder
# that the caller is in.
shared_files() {
  find . -type f ! -name create-base-image.sh \( -name '*.sh' -o -name '*.rb' -o -name '*.conf' -o -name send_heartbeat \
    -o -name keychain -o -name vm-ssh-gate -o -name tartbeat-verify -o -path './guest/*' \) | sort
}

# --- certificates ---------------------------------------------------------------------------------

readonly MOST_AUTHORITIES=20

# Prints the subject of a certificate in one line.
name_of_authority() { # FILE
  one_line "$(openssl x509 -in "$1" -noout -subject 2>/dev/null | sed 's/^subject= *//')"
  echo
}

# Splits PEM files, of which FILES names one a line, into one file for each certificate authority. Each has
# the SHA-256 of the certificate as its name. Makes FOLDER. Fails, and sets `problem`, if a file holds
# something else.
split_authorities() { # FOLDER FILES
  authorities=$1
  problem=''
  mkdir "$authorities" || return
  IFS='
' && set -f
  # shellcheck disable=SC2086 # one file a line
  set -- $2
  unset IFS && set +f
  for pem in "$@"; do
    if [ ! -r "$pem" ]; then
      problem="$pem cannot be read"
    elif grep -q 'PRIVATE KEY' "$pem"; then
      problem="$pem holds a private key: give the certificate of the authority alone"
    elif ! grep -q 'BEGIN CERTIFICATE' "$pem"; then
      problem="$pem holds no certificate in PEM form (openssl x509 -inform der -in FILE makes one)"
    fi
    [ -z "$problem" ] || return 1
    awk -v folder="$authorities" '
      /-----BEGIN CERTIFICATE-----/ { part = folder "/part-" ++count }
      part != "" { print > part }
      /-----END CERTIFICATE-----/ { close(part); part = "" }' "$pem" || return
    for part in "$authorities"/part-*; do
      sum=$(openssl x509 -in "$part" -noout -fingerprint -sha256 2>/dev/null | sed 's/.*=//; s/://g' | tr A-F a-f)
      if [ -z "$sum" ]; then
        problem="$pem holds a part that is no certificate"
      elif ! openssl x509 -in "$part" -noout -text 2>/dev/null | grep -q 'CA:TRUE'; then
        problem="$pem: $(name_of_authority "$part") is no certificate authority: give the certificate that issued it"
      elif ! openssl x509 -in "$part" -noout -checkend 0 >/dev/null 2>&1; then
        problem="$pem: $(name_of_authority "$part") has expired"
      fi
      [ -z "$problem" ] || return 1
      openssl x509 -in "$part" -out "$authorities/$sum.pem" && rm -f "$part" || return
    done
  done
  if [ "$(find "$authorities" -name '*.pem' | wc -l)" -gt "$MOST_AUTHORITIES" ]; then
    problem="there are more than $MOST_AUTHORITIES certificate authorities: give only those of your own"
    return 1
  fi
}

# --- files ----------------------------------------------------------------------------------------

owned_by() { # NAME PATH
  owner=$(id -u "$1" 2>/dev/null)
  # shellcheck disable=SC2012,SC2046 # the only way to see an owner that BSD and GNU share; the third word
  set -- $(ls -ldn "$2" 2>/dev/null)
  [ "${3:-}" = "$owner" ]
}

has_mode() { # MODE PATH, as find reads it
  [ -n "$(find "$2" -prune -perm "$1" -print 2>/dev/null)" ]
}

# --- time -----------------------------------------------------------------------------------------

# Prints the ids of a process and of all its descendants. Killing only `sudo` or `ssh` would leave the command
# that they run. A parent comes before its children, because a shell whose child is killed first continues
# with its next command.
family_of() { # PID
  ps -A -o pid= -o ppid= | awk -v top="$1" '
    { parent[$1] = $2 }
    END {
      for (pid in parent) {
        depth = 0
        for (p = pid; p > 1 && p != top; p = parent[p]) depth++
        if (p == top) print depth, pid
      }
    }' | sort -n | awk '{ print $2 }'
}

kill_family() { # PID
  family=$(family_of "$1")
  # shellcheck disable=SC2086 # a list
  { [ -z "$family" ] || kill -TERM $family; } 2>/dev/null
}

# Runs a command for at most SECONDS, and returns 124 if it killed the command. The command keeps its standard
# input, which `&` alone would take away.
#
# A watchdog kills the command at the limit. If the command ends in time, USR2 kills the watchdog. While it
# waits it has no trap for USR2, because bash runs a trap too late if the signal comes just before a `wait`.
# The last sleep of the watchdog keeps running after it. So each is as long as the command has taken by then,
# and ten seconds at most.
within_pid=
within_watchdog=
within() { # SECONDS COMMAND…
  within_limit=$1
  shift
  launching=yes
  exec 9<&0
  "$@" <&9 9<&- &
  within_pid=$!
  exec 9<&-
  (
    within_waited=0 within_sleep=1
    while [ "$within_waited" -lt "$within_limit" ]; do
      [ "$within_sleep" -le $((within_limit - within_waited)) ] || within_sleep=$((within_limit - within_waited))
      sleep "$within_sleep"
      within_waited=$((within_waited + within_sleep))
      if [ "$within_waited" -lt 10 ]; then within_sleep=$within_waited; else within_sleep=10; fi
    done
    trap '' USR2
    family=$(family_of "$within_pid")
    # shellcheck disable=SC2086 # a list
    kill -TERM $family
    for _ in 1 2 3 4 5; do
      # shellcheck disable=SC2086
      kill -0 $family || break
      sleep 1
    done
    # shellcheck disable=SC2086
    kill -KILL $family
    exit 124
  ) </dev/null >/dev/null 2>&1 &
  within_watchdog=$!
  launched
  wait "$within_pid" 2>/dev/null
  within_code=$?
  {
    kill -USR2 "$within_watchdog"
    wait "$within_watchdog"
  } 2>/dev/null
  [ $? -ne 124 ] || within_code=124
  within_pid=
  within_watchdog=
  return "$within_code"
}

# False in a child of the script. If a signal ends a child just after its start, bash runs the script's trap
# on EXIT in the child. Each such trap asks this first, because it would remove files that the script still
# needs. A second signal may meet the whole group, so the `sh` that answers ignores it.
in_script() {
  [ "$(trap '' INT TERM HUP; exec sh -c 'echo "$PPID"')" = $$ ]
}

# The same for a trap on EXIT. From then on no signal stops the script's cleaning, and the command of `within`
# is killed.
begin_clean_up() {
  trap '' INT TERM HUP
  in_script && end_within
}

# Ends the script on a signal, and before it the command of `within`. While the script starts a child and
# saves its id, the signal is only noted, because nothing could end that child. Scripts call it in their
# traps.
launching=
signalled=
on_signal() { # CODE
  in_script || exit "$1"
  signalled=$1
  [ -n "$launching" ] || launched
}

# The id is saved. A signal that came meanwhile ends the script now. The trap on EXIT may use `within` again.
launched() {
  launching=
  [ -n "$signalled" ] || return 0
  trap '' INT TERM HUP
  set -- "$signalled"
  signalled=
  end_within
  exit "$1"
}

# Kills the command and the watchdog of `within`.
end_within() {
  [ -z "$within_watchdog" ] || kill -USR2 "$within_watchdog" 2>/dev/null
  [ -z "$within_pid" ] || kill_family "$within_pid"
  within_pid=
  within_watchdog=
}
