#!/bin/sh
# Turns the screen saver off, because in a VM without a GPU it uses a whole core.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"

title='The screen saver is off'

check() {
  idle=$(as_user defaults -currentHost read com.apple.screensaver idleTime 2>/dev/null)
  case $idle in
    0) found 'idleTime 0' ;;
    '') missing 'idleTime is not set, so the screen saver starts after the default time of macOS' ;;
    *) missing "the screen saver starts after $idle s" ;;
  esac
}

apply() {
  attempt as_user defaults -currentHost write com.apple.screensaver idleTime -int 0
}

step "$@"
