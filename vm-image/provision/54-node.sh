#!/bin/sh
# Installs Node of one release line, and links it, because Homebrew does not link such a formula by itself.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="Node ${NODE_FORMULA#node@} is what a build finds"

check() {
  version=$(as_build 'node --version' 2>/dev/null)
  version=${version##*
}
  case $version in
    "v${NODE_FORMULA#node@}".*) found "node $version" ;;
    '') missing 'a build finds no node' ;;
    *) missing "a build finds node $version" ;;
  esac
}

apply() {
  attempt as_brew install "$NODE_FORMULA" && attempt as_brew link --overwrite --force "$NODE_FORMULA"
}

step "$@"
