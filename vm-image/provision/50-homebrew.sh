#!/bin/sh
# Homebrew at a pinned release, owned by the account that builds run as. A clone of the tag, not the
# installer: that one wants sudo without a password for everything, and takes whatever is newest.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title='Homebrew is installed'

check() {
  version=$(as_brew --version 2>/dev/null | head -n 1)
  if [ -z "$version" ]; then
    missing "$brew_prefix/bin/brew is not there or does not start"
  elif ! owned_by "$TARTBEAT_USER" "$brew_prefix"; then
    missing "$brew_prefix does not belong to $TARTBEAT_USER"
  else
    found "$version in $brew_prefix"
  fi
}

apply() {
  if [ -x "$brew_prefix/bin/brew" ]; then
    attempt chown -R "$TARTBEAT_USER" "$brew_prefix"
    return
  fi
  # rmdir refuses what is not empty: that is somebody's, and said.
  if [ -d "$brew_prefix" ]; then attempt rmdir "$brew_prefix" || return; fi
  attempt mkdir -p "$(dirname "$brew_prefix")" && attempt rm -rf "$brew_prefix.new" &&
    attempt mkdir "$brew_prefix.new" && attempt chown "$TARTBEAT_USER" "$brew_prefix.new" &&
    attempt as_user git clone --quiet --depth 1 --branch "$HOMEBREW_VERSION" https://github.com/Homebrew/brew "$brew_prefix.new" &&
    attempt mv "$brew_prefix.new" "$brew_prefix"
}

step "$@"
