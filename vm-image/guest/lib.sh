# shellcheck shell=bash
# Has the functions that the guest scripts share. They source this file; it does nothing by itself.
#
# The agent runs the scripts beside this file in a VM, over SSH, with the account that builds run as. It sends
# the name of a file, a subcommand and arguments; `table` lists them all.
#
# Invariant: a script gets its data as arguments of the kinds in `table`, or on standard input. It gets
# secrets on standard input only, because `ps` shows arguments to every process of the VM.
#
# The scripts run in macOS's bash 3.2 with its BSD tools and the PATH of SSH commands,
# /usr/bin:/bin:/usr/sbin:/sbin. They need bash and no other sh: it gives a process group to what it starts in
# the background (`set -m`) without a terminal, and it has pipefail.
#
#   STATE             BUILD-ATTEMPT, the folder of an attempt below $HOME/.tartbeat
#   $TARTBEAT_ROOT    is put before every path of the VM; empty in real images, set by tests and the simulator

root=${TARTBEAT_ROOT-}
# shellcheck disable=SC2034 # read by the scripts
log=$root/tmp/build.log

# Sets `state` to the folder of the attempt that the arguments name.
on_attempt() { # STATE BUILD ATTEMPT …
  state=$HOME/.tartbeat/$1
}

# Exports the variables that the monitor and the build both have.
export_attempt() { # STATE BUILD ATTEMPT …
  export TARTBEAT_STATE="$state" TARTBEAT_BUILD_ID="$2" TARTBEAT_ATTEMPT="$3"
}

# Succeeds if the process is alive. It asks `ps`, because `kill -0` also succeeds for a zombie.
alive() { # PID
  case "$(ps -o stat= -p "$1" 2>/dev/null)" in "" | Z*) return 1 ;; esac
}

# Prints the UUID of the current start of macOS, or nothing if the system has none. kern.boottime would not
# do, because it changes when the clock is set.
boot_session() {
  sysctl -n kern.bootsessionuuid 2>/dev/null
}

no_such_subcommand() {
  printf '%s: unknown subcommand; the first lines of the script list all\n' "$0" >&2
  exit 64
}
