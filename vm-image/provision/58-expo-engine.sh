#!/bin/sh
# Installs Expo's local build engine, which builds profiles of eas.json. It is installed from npm and never
# copied into Tartbeat, because its licence is not Tartbeat's.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="Expo's build engine $EXPO_ENGINE_VERSION is installed"
engine=eas-cli-local-build-plugin

check() {
  version=$(as_build "'$brew_prefix/bin/$engine' --version" 2>/dev/null | tail -n 1)
  case $version in
    "$EXPO_ENGINE_VERSION") found "$engine $version" ;;
    '') missing "$brew_prefix/bin/$engine does not exist or does not start" ;;
    *) missing "$engine has version $version" ;;
  esac
}

apply() {
  attempt as_build "npm install --global --no-audit --no-fund --loglevel=error --prefix '$brew_prefix' $engine@$EXPO_ENGINE_VERSION"
}

step "$@"
