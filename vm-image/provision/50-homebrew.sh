#!/bin/sh
# Installs Homebrew at a pinned release, owned by the account that builds run as. It clones the tag and does
# not use the installer, which needs sudo without a password for every command and takes the newest release.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

title='Homebrew is installed'

check() {
  version=$(as_brew --version 2>/dev/null)
  version=${version%%
*}
  if [ -z "$version" ]; then
    missing "$brew_prefix/bin/brew does not exist or does not start"
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
  # rmdir fails if the folder is not empty, because somebody put the files there. The step then reports it.
  if [ -d "$brew_prefix" ]; then attempt rmdir "$brew_prefix" || return; fi
  attempt mkdir -p "${brew_prefix%/*}" && attempt rm -rf "$brew_prefix.new" &&
    attempt mkdir "$brew_prefix.new" && attempt chown "$TARTBEAT_USER" "$brew_prefix.new" &&
    attempt as_user git clone --quiet --depth 1 --branch "$HOMEBREW_VERSION" https://github.com/Homebrew/brew "$brew_prefix.new" &&
    attempt mv "$brew_prefix.new" "$brew_prefix"
}

step "$@"
