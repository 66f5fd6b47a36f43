#!/bin/sh
# Turns sleep and display sleep off, because a VM that sleeps sends no heartbeat and loses its build.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"

title='Sleep and display sleep are off'

setting() { printf '%s\n' "$settings" | awk -v name="$1" '$1 == name { print $2; exit }'; }

check() {
  settings=$(pmset -g 2>/dev/null)
  sleep=$(setting sleep)
  display=$(setting displaysleep)
  if [ -z "$sleep" ]; then
    missing 'pmset -g shows no sleep setting'
  elif [ "$sleep" != 0 ] || [ "${display:-0}" != 0 ]; then
    missing "sleep is $sleep, displaysleep is ${display:-not a setting here} (minutes; 0 is off)"
  else
    # Some VMs do not have the setting displaysleep.
    found "sleep 0, displaysleep ${display:-not a setting here}"
  fi
}

apply() {
  attempt pmset -a sleep 0 && attempt pmset -a displaysleep 0
}

step "$@"
