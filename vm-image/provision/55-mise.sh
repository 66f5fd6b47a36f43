#!/bin/sh
# Installs mise, with which a build installs the versions of Node and of a package manager that its project
# names.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title="mise $MISE_MINIMUM or newer is what a build finds"

check() {
  version=$(as_build 'mise --version' 2>/dev/null | sed -n 's/^\([0-9][0-9.]*\).*/\1/p' | tail -n 1)
  if [ -z "$version" ]; then
    missing 'a build finds no mise'
  elif printf '%s %s\n' "$version" "$MISE_MINIMUM" | awk '{
    split($1, have, "."); split($2, want, ".")
    exit !(have[1] > want[1] || (have[1] == want[1] && have[2] >= want[2])) }'; then
    found "mise $version"
  else
    missing "a build finds mise $version, which is older than $MISE_MINIMUM"
  fi
}

# Homebrew upgrades nothing that an image has already, unless it is asked to.
apply() {
  if [ -x "$brew_prefix/bin/mise" ]; then attempt as_brew upgrade mise; else attempt as_brew install mise; fi
}

step "$@"
