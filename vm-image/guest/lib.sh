# shellcheck shell=bash
# What the guest scripts share. Sourced, never run.
#
# The scripts beside this file run in a VM, over SSH, as the account that builds run as. The agent sends the
# name of a file, a subcommand and arguments; `table` lists them all.
#
# Invariant: what varies reaches a script as an argument of a kind that `table` names, or on standard input. A
# secret comes on standard input only, because `ps` shows arguments to every process of the VM.
#
# The scripts run in macOS's bash 3.2 with its BSD tools and the PATH of SSH commands,
# /usr/bin:/bin:/usr/sbin:/sbin. They need bash and no other sh: it gives a process group to what it starts in
# the background (`set -m`) without a terminal, and it has pipefail.
#
#   STATE             BUILD-ATTEMPT, the folder of an attempt below $HOME/.tartbeat
#   $TARTBEAT_ROOT    stands before every path of the VM; empty in real images, for tests and the simulator

root=${TARTBEAT_ROOT-}
# shellcheck disable=SC2034 # read by the scripts
log=$root/tmp/build.log

# Sets state to the folder of the attempt that the arguments name.
on_attempt() { # STATE BUILD ATTEMPT …
  state=$HOME/.tartbeat/$1
}

# Gives the monitor and the build what both find in their environment.
export_attempt() { # STATE BUILD ATTEMPT …
  export TARTBEAT_STATE="$state" TARTBEAT_BUILD_ID="$2" TARTBEAT_ATTEMPT="$3"
}

# A zombie is not alive. Where nobody reaps it, `kill -0` would say that it is.
alive() { # PID
  case "$(ps -o stat= -p "$1" 2>/dev/null)" in "" | Z*) return 1 ;; esac
}

# Prints which start of macOS this is; nothing where the system cannot tell. The UUID stays when the clock is
# set, which moves kern.boottime.
boot_session() {
  sysctl -n kern.bootsessionuuid 2>/dev/null
}

no_such_subcommand() {
  printf '%s: no such subcommand; its head lists those that there are\n' "$0" >&2
  exit 64
}
