#!/bin/sh
# Installs Expo's local build engine, which builds profiles of eas.json. It is installed from npm and never
# copied into Tartbeat, because its licence is not Tartbeat's.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="Expo's build engine $EXPO_ENGINE_VERSION is installed"
engine=eas-cli-local-build-plugin

# A build starts the engine with the Node of the image, even if its project names another Node.
check() {
  node=$(as_build "'$brew_prefix/bin/node' --version" 2>/dev/null)
  node=${node##*
}
  case $node in
    "v${NODE_FORMULA#node@}".*) ;;
    *)
      missing "$brew_prefix/bin/node, with which a build starts $engine, is ${node:-absent}"
      return
      ;;
  esac
  version=$(as_build "PATH='$brew_prefix/bin':\$PATH '$brew_prefix/bin/$engine' --version" 2>/dev/null)
  version=${version##*
}
  case $version in
    "$EXPO_ENGINE_VERSION") found "$engine $version with node $node" ;;
    '') missing "$brew_prefix/bin/$engine does not exist or does not start with node $node" ;;
    *) missing "$engine has version $version" ;;
  esac
}

apply() {
  attempt as_build "npm install --global --no-audit --no-fund --loglevel=error --prefix '$brew_prefix' $engine@$EXPO_ENGINE_VERSION"
}

step "$@"
