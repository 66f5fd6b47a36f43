#!/bin/bash
# Prints the state of the VM: disk, load, memory, the number of processes that macOS killed because memory had
# run out, and the twenty largest processes.
#
#   evidence.sh look
#
# Invariant: it prints the names of processes without their arguments, because arguments may hold secrets.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

# macOS writes a report when it kills processes because memory has run out. The report gives a reason for each
# killed process. `-newer` leaves out the reports of the image, because they are older than the attempt.
count_memory_kills() {
  find "$root/Library/Logs/DiagnosticReports" -name 'JetsamEvent-*.ips' -newer "$HOME/.tartbeat" \
    -exec cat {} + 2>/dev/null | grep -cE '"reason" *: *"(vm-|fc-thrashing)'
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

case ${1-} in
  look) look ;;
  *) no_such_subcommand ;;
esac
