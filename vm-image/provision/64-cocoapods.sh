#!/bin/sh
# Installs CocoaPods as a gem, because Homebrew cannot pin a formula to a release.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="CocoaPods $COCOAPODS_VERSION is what a build finds"

check() {
  version_after '' "$(as_build 'pod --version' 2>/dev/null)"
  case $version in
    "$COCOAPODS_VERSION") found "CocoaPods $version" ;;
    '') missing 'a build finds no pod' ;;
    *) missing "a build finds CocoaPods $version" ;;
  esac
}

apply() {
  attempt as_build "gem install --no-document --force --bindir '$brew_prefix/bin' --version $COCOAPODS_VERSION cocoapods"
}

step "$@"
