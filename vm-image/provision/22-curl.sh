#!/bin/sh
# Checks that macOS has curl, because the monitor sends its beats with it. SSH commands do not find a curl of
# Homebrew, which is not on their PATH.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title='curl is there for the monitor'
fix='install macOS 12 or newer, which has curl at /usr/bin/curl'

check() {
  version_after 'curl ' "$(curl -q --version 2>/dev/null)"
  if [ -z "$version" ]; then
    missing 'curl is not on the PATH or does not start'
  elif is_at_least "$version" "$CURL_MINIMUM"; then
    found "curl $version"
  else
    missing "curl $version is older than $CURL_MINIMUM"
  fi
}

apply() {
  problem='curl is part of macOS, so this step cannot install it'
  return 1
}

step "$@"
