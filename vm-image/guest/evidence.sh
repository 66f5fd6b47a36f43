#!/bin/bash
# Shows what the VM looks like: disk, load, memory, processes killed for want of it, the twenty largest.
#
#   evidence.sh look
#
# Invariant: names of processes only, because arguments may hold secrets.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

# macOS writes a report when it kills processes because memory has run out. A killed process has a reason in
# it. A report of the image is older than the folder of the attempt.
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
