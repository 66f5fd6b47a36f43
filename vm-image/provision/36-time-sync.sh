#!/bin/sh
# With a wrong clock no certificate is valid. The agent sets the clock before a build; this keeps it right
# during one.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"

title='The clock follows network time'

check() {
  if ! is_root; then
    unknown 'systemsetup answers root only'
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
