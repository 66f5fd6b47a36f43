#!/bin/sh
# Turns network time on, because with a wrong clock no certificate is valid. The agent sets the clock before a
# build, and network time keeps it right during the build.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='The clock follows network time'

check() {
  if ! is_root; then
    unknown 'systemsetup needs root to answer'
    return
  fi
  case $(systemsetup -getusingnetworktime 2>/dev/null) in
    *': On'*) found 'network time is on' ;;
    *) missing 'network time is off' ;;
  esac
}

apply() {
  attempt systemsetup -setusingnetworktime on
}

step "$@"
