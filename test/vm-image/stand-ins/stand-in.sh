# shellcheck shell=sh
# Has the functions that the stand-ins of macOS's commands share. Each of them sources this file.
#
# $STAND_INS is the folder of one test:
#   calls         one line for each call that changes something: "pmset -a sleep 0"
#   installed     a link to the stand-ins of what the steps install
#   state/KEY     one setting of the simulated system; without the file the setting is that of a fresh macOS
#   fail/NAME     each call of this command that would change something fails; if it has text, only those
#                 calls that have this text among their arguments
#   broken/NAME   each call of this command fails, also those that only look
# A stand-in ends with 98 on unknown arguments, so that a test fails when a script begins to use others.
set -u
command=${0##*/}

# Tests call stand-ins some thousand times. So they start as few processes as they can, also no `cat` and no
# `$(get KEY)`.

# shellcheck disable=SC2034 # read by the stand-ins
# Sets `value` to a setting of one line, or to what a fresh macOS has.
setting() { # KEY [DEFAULT]
  value=${2:-}
  [ ! -e "$STAND_INS/state/$1" ] || IFS= read -r value <"$STAND_INS/state/$1" || :
}
get() { # KEY
  has "$1" && while IFS= read -r got; do printf '%s\n' "$got"; done <"$STAND_INS/state/$1"
}
put() { printf '%s\n' "$2" >"$STAND_INS/state/$1"; }  # KEY VALUE
has() { [ -e "$STAND_INS/state/$1" ]; }               # KEY

# Wakes the `tart run` that waits at a pipe. It does not wait itself if nothing does. COMMAND runs while the
# pipe is open, so nobody opens it between the command and the waking.
wake() { # PIPE [COMMAND…]
  [ -p "$1" ] || return 0
  exec 3<>"$1"
  pipe=$1
  shift
  "$@"
  echo >&3
  exec 3>&-
  # If `tart run` has ended just now, the file is ours.
  [ -p "$pipe" ] || rm -f "$pipe"
}

unexpected() {
  printf 'stand-in: unexpected: %s %s\n' "$command" "$*" >&2
  printf 'UNEXPECTED %s %s\n' "$command" "$*" >>"$STAND_INS/calls"
  exit 98
}

# Called before anything is changed.
changes() {
  printf '%s\n' "$command $*" >>"$STAND_INS/calls"
  [ -e "$STAND_INS/fail/$command" ] || return 0
  only=''
  IFS= read -r only <"$STAND_INS/fail/$command" || :
  case " $* " in *"$only"*) ;; *) return 0 ;; esac
  printf '%s: pretended failure\n' "$command" >&2
  exit 7
}

if [ -e "$STAND_INS/broken/$command" ]; then
  printf '%s: broken\n' "$command" >&2
  exit 9
fi
