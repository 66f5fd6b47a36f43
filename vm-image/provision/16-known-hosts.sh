#!/bin/sh
# Writes the host keys of the large forges into the account's ~/.ssh/known_hosts, because nobody can confirm
# them in a build. It writes the lines of guest/known-hosts as they are, unhashed, because Xcode does not read
# hashed lines.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='A build knows the host keys of the large forges'
wanted=${here%/*}/guest/known-hosts
find_home
file=$home/.ssh/known_hosts

# Prints the wanted lines that the file lacks. BSD and GNU grep differ on an empty list of patterns.
# shellcheck disable=SC2016 # for awk
lacking='
  BEGIN { while ((getline line < have) > 0) seen[line] = 1 }
  !/^#/ && !($0 in seen)'

check() {
  absent=$(awk -v have="$file" "$lacking { count++ } END { print count + 0 }" "$wanted")
  if [ ! -f "$file" ]; then
    missing "there is no $file"
  elif [ "$absent" -ne 0 ]; then
    missing "$file lacks $absent line(s) of $wanted"
  elif ! owned_by "$TARTBEAT_USER" "$file"; then
    missing "$file does not belong to $TARTBEAT_USER"
  else
    found "$file has the keys of github.com, gitlab.com, bitbucket.org and ssh.dev.azure.com"
  fi
}

# Lines that are there already stay. A last line without a newline gets one.
apply() {
  if [ -f "$file" ]; then attempt chown "$TARTBEAT_USER" "$file" || return; fi
  # shellcheck disable=SC2016 # for the inner shell
  attempt as_user sh -c '
    umask 077
    mkdir -p "${1%/*}" && touch "$1" || exit
    [ -z "$(tail -c 1 "$1")" ] || echo >>"$1"
    lines=$(awk -v have="$1" "$3" "$2") && [ -z "$lines" ] || printf "%s\n" "$lines" >>"$1"' \
    sh "$file" "$wanted" "$lacking"
}

step "$@"
