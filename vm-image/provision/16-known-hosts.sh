#!/bin/sh
# Writes the host keys of the large forges into the account's ~/.ssh/known_hosts, because nobody can confirm
# them in a build. It writes the lines of guest/known-hosts as they are, unhashed, because Xcode does not read
# hashed lines.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"

title='A build knows the host keys of the large forges'
wanted=${here%/*}/guest/known-hosts
file=$(user_home)/.ssh/known_hosts

check() {
  absent=$(grep -v '^#' "$wanted" | grep -cvxF -f "$file" 2>/dev/null)
  if [ ! -f "$file" ]; then
    missing "there is no $file"
  elif [ "${absent:-1}" -ne 0 ]; then
    missing "$file lacks $absent line(s) of $wanted"
  elif ! owned_by "$TARTBEAT_USER" "$file"; then
    missing "$file does not belong to $TARTBEAT_USER"
  else
    found "$file has the keys of github.com, gitlab.com and bitbucket.org"
  fi
}

# Lines that are there already stay. A last line without a newline gets one.
apply() {
  if [ -f "$file" ]; then attempt chown "$TARTBEAT_USER" "$file" || return; fi
  # shellcheck disable=SC2016 # for the inner shell
  attempt as_user sh -c '
    umask 077
    mkdir -p "$(dirname "$1")" && touch "$1" || exit
    [ -z "$(tail -c 1 "$1")" ] || echo >>"$1"
    grep -v "^#" "$2" | grep -vxF -f "$1" >>"$1.new" || :
    cat "$1.new" >>"$1" && rm -f "$1.new"' sh "$file" "$wanted"
}

step "$@"
