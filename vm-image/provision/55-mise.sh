#!/bin/sh
# Installs mise, with which a build installs the versions of Node and of a package manager that its project
# names.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="mise $MISE_MINIMUM or newer is what a build finds"

check() {
  version_after '' "$(as_build 'mise --version' 2>/dev/null)"
  if [ -z "$version" ]; then
    missing 'a build finds no mise'
  elif is_at_least "$version" "$MISE_MINIMUM"; then
    found "mise $version"
  else
    missing "a build finds mise $version, which is older than $MISE_MINIMUM"
  fi
}

# Homebrew upgrades a tool that an image already has only if it is asked to.
apply() {
  if [ -x "$brew_prefix/bin/mise" ]; then attempt as_brew upgrade mise; else attempt as_brew install mise; fi
}

step "$@"
