#!/bin/sh
# Turns sleep and display sleep off, because a VM that sleeps sends no heartbeat and loses its build.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='Sleep and display sleep are off'

check() {
  sleep='' display=''
  while read -r setting minutes _; do
    case $setting in
      sleep) sleep=${sleep:-$minutes} ;;
      displaysleep) display=${display:-$minutes} ;;
    esac
  done <<END
$(pmset -g 2>/dev/null)
END
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
