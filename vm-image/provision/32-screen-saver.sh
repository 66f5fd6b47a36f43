#!/bin/sh
# Turns the screen saver off, because in a VM without a GPU it uses a whole core.
#
# A clone has another serial number than this VM, and macOS finds no setting of `-currentHost` under the new
# one. So the setting is also written where it does not depend on the machine.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='The screen saver is off'
system=/Library/Preferences/com.apple.screensaver

check() {
  host=$(as_user defaults -currentHost read com.apple.screensaver idleTime 2>/dev/null)
  account=$(as_user defaults read com.apple.screensaver idleTime 2>/dev/null)
  machine=$(defaults read "$system" idleTime 2>/dev/null)
  case ${host:-0}:${account:-unset}:${machine:-unset} in
    0:0:0) found 'idleTime 0, also for a clone with another serial number' ;;
    0:*) missing "idleTime is ${account:-unset} for the account and ${machine:-unset} in $system: it must be 0 in both" ;;
    *) missing "the screen saver starts after $host s" ;;
  esac
}

apply() {
  attempt as_user defaults -currentHost write com.apple.screensaver idleTime -int 0 &&
    attempt as_user defaults write com.apple.screensaver idleTime -int 0 &&
    attempt defaults write "$system" idleTime -int 0 &&
    attempt defaults write "$system" loginWindowIdleTime -int 0
}

step "$@"
