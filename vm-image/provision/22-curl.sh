#!/bin/sh
# Checks that macOS has curl, because the monitor sends its beats with it. SSH commands do not find a curl of
# Homebrew, which is not on their PATH.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title='curl is there for the monitor'
fix='install macOS 12 or newer, which has curl at /usr/bin/curl'

check() {
  version=$(curl -q --version 2>/dev/null | sed -n '1s/^curl \([0-9.]*\).*/\1/p')
  if [ -z "$version" ]; then
    missing 'curl is not on the PATH or does not start'
  elif printf '%s %s\n' "$version" "$CURL_MINIMUM" | awk '{
    split($1, have, "."); split($2, want, ".")
    exit !(have[1] > want[1] || (have[1] == want[1] && have[2] >= want[2])) }'; then
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
