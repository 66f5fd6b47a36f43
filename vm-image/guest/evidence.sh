#!/bin/bash
# Shows what the VM looks like: disk, load, memory, the twenty largest processes.
#
#   evidence.sh look
#
# Invariant: names of processes only, because arguments may hold secrets.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

look() {
  echo '## disk'
  df -k /
  echo '## load'
  uptime
  echo '## memory'
  vm_stat 2>/dev/null || head -5 /proc/meminfo 2>/dev/null
  echo '## processes'
  ps -axo pid,ppid,stat,rss,pcpu,comm | sort -k4 -nr | head -20
  exit 0
}

case ${1-} in
  look) look ;;
  *) no_such_subcommand ;;
esac
