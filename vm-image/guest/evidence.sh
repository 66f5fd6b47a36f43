#!/bin/bash
# Prints what explains an attempt that did not end well.
#
#   evidence.sh look                           disk, load, memory, how many processes macOS has killed because
#                                              memory had run out, and the twenty largest processes
#   evidence.sh processes STATE BUILD ATTEMPT  the processes of the account of the build, with their arguments
#
# Invariant: `look` prints the names of processes without their arguments, because arguments may hold secrets.
# The agent takes the secrets out of what `processes` prints. ps of macOS prints all but printable ASCII in
# another form, so if a secret has such characters, the agent drops all arguments.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=vm-image/guest/activity.sh
. "${0%/*}/activity.sh"

# macOS writes a report when it kills processes because memory has run out. The report gives a reason for each
# killed process. `-newer` leaves out the reports of the image, because they are older than the attempt.
count_memory_kills() {
  find "$root/Library/Logs/DiagnosticReports" -name 'JetsamEvent-*.ips' -newer "$HOME/.tartbeat" \
    -exec cat {} + 2>/dev/null | LC_ALL=C grep -cE '"reason" *: *"(vm-|fc-thrashing)'
}

look() {
  echo '## disk'
  df -k /
  echo '## load'
  uptime
  echo '## memory'
  vm_stat 2>/dev/null || head -5 /proc/meminfo 2>/dev/null
  echo '## killed for memory'
  count_memory_kills
  echo '## processes'
  ps -axo pid,ppid,stat,rss,pcpu,comm | sort -k4 -nr | head -20
  exit 0
}

# Prints `build=PROCESS-GROUP`, and then one line for each process: PID PARENT GROUP ELAPSED CPU-PERCENT STATE
# COMMAND.
show_processes() { # STATE BUILD ATTEMPT
  on_attempt "$@"
  [ ! -f "$state/build.pgid" ] || printf 'build=%s\n' "$(cat "$state/build.pgid")"
  list_processes etime=,pcpu=,stat=,args=
}

subcommand=${1-}
shift
case $subcommand in
  look) look ;;
  processes) show_processes "$@" ;;
  *) no_such_subcommand ;;
esac
