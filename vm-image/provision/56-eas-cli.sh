#!/bin/sh
# Installs eas-cli. It does not install expo-cli, because each project has its own, for `npx expo`.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="eas-cli $EAS_CLI_VERSION is what a build finds"

check() {
  version_after eas-cli/ "$(as_build 'EAS_NO_UPDATE_NOTIFIER=1 eas --version' 2>/dev/null)"
  case $version in
    "$EAS_CLI_VERSION") found "eas-cli $version" ;;
    '') missing 'a build finds no eas' ;;
    *) missing "a build finds eas-cli $version" ;;
  esac
}

apply() {
  attempt as_build "npm install --global --no-audit --no-fund --loglevel=error --prefix '$brew_prefix' eas-cli@$EAS_CLI_VERSION"
}

step "$@"
