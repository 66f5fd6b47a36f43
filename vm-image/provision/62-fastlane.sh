#!/bin/sh
# Installs fastlane as a gem, because Homebrew cannot pin a formula to a release.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="fastlane $FASTLANE_VERSION is what a build finds"

check() {
  version_after 'fastlane ' "$(as_build 'FASTLANE_SKIP_UPDATE_CHECK=1 FASTLANE_OPT_OUT_USAGE=1 fastlane --version' 2>/dev/null)"
  case $version in
    "$FASTLANE_VERSION") found "fastlane $version" ;;
    '') missing 'a build finds no fastlane' ;;
    *) missing "a build finds fastlane $version" ;;
  esac
}

apply() {
  attempt as_build "gem install --no-document --force --bindir '$brew_prefix/bin' --version $FASTLANE_VERSION fastlane"
}

step "$@"
