#!/bin/sh
# Installs Ruby of one release line, for fastlane, for CocoaPods and for the Gemfiles of projects.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="Ruby ${RUBY_FORMULA#ruby@} is what a build finds"

check() {
  version_after 'ruby ' "$(as_build 'ruby --version' 2>/dev/null)"
  case $version in
    "${RUBY_FORMULA#ruby@}".*) found "ruby $version" ;;
    '') missing 'a build finds no ruby' ;;
    *) missing "a build finds ruby $version" ;;
  esac
}

apply() {
  attempt as_brew install "$RUBY_FORMULA"
}

step "$@"
