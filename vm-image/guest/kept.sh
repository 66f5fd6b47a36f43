#!/bin/bash
# Makes a VM fit to be kept after a failed attempt, so that a person can look into it.
#
#   kept.sh clean STATE BUILD ATTEMPT BYTES MINUTES    texts that no file may have, one a line, on stdin
#
# Afterwards no process of the build is left and no monitor. The secret files are gone with everything that
# was made of them, and so is the log as the build printed it, in which secrets may stand. So is every file
# that has one of the texts, if it was changed in the last MINUTES and lies in the home or in a temporary
# folder. And no packet enters or leaves the VM but those of SSH with the Mac, from which the agent speaks.
#
# Prints `files=N`, how many such files it has deleted. Ends with 0 only if all of the above holds. Otherwise
# it prints on standard error what does not, and the agent deletes the VM. Exit code 3: fewer or more than
# BYTES bytes came. It may be repeated.
#
# It guards against accidents. A build that may use sudo can hide from it.
# shellcheck disable=SC2016 # programs for other shells are in quotes
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=vm-image/guest/activity.sh
. "${0%/*}/activity.sh"
# shellcheck source=vm-image/guest/expo-leftovers.sh
. "${0%/*}/expo-leftovers.sh"
# shellcheck source=vm-image/guest/kept-processes.sh
. "${0%/*}/kept-processes.sh"

# kept.conf names it.
mac_file=$root/var/tmp/tartbeat-kept-mac

fail() { # WORDS
  printf '%s\n' "$*" | head -c 500 >&2
  exit 1
}

# Writes the address that the agent speaks from, for the table in kept.conf. A link or a pipe that the build
# has left at this place is replaced.
note_mac() {
  address=${SSH_CONNECTION-}
  address=${address%% *}
  case $address in
    *[!0-9.]* | *.*.*.*.* | *..* | .* | *.) address= ;;
    *.*.*.*) ;;
    *) address= ;;
  esac
  [ -n "$address" ] || fail 'the network could not be cut: SSH does not say from which IPv4 address the agent speaks'
  rm -rf "$mac_file"
  (set -C && umask 022 && printf '%s\n' "$address" >"$mac_file") 2>/dev/null || fail "$mac_file could not be written"
}

# Drops what is on its way too, and keeps the connection over which the agent speaks. With the restricted rule
# of sudo the account may load this one file of the image and no other.
cut_network() {
  note_mac
  rules=$root/usr/local/share/tartbeat/guest/kept.conf
  [ -f "$rules" ] || rules=${0%/*}/kept.conf
  words=$(sudo -n pfctl -F all -E -f "$rules" 2>&1) || fail "the network could not be cut: $words"
}

# inputs.sh ends with 0 whatever happens, so this looks itself.
remove_secrets() { # STATE BUILD ATTEMPT
  "${0%/*}/inputs.sh" remove-secrets "$@"
  rm -f "$log" "$state/build.sh" "$state/build.tmp" "$state/number.tmp" "$state/source.archive"
  for place in "$state/secrets" "$state/secrets.tmp" "$state/secret-paths" "$state/keychain" \
    "$state/build.keychain-db" "$state/build.sh" "$state/build.tmp" "$log" "$expo_home/private" "$expo_home/tmp"; do
    [ ! -e "$place" ] || fail "$place could not be removed"
  done
}

# The folders where the account can leave files. macOS gives each account temporary folders of its own.
folders_of_account() {
  printf '%s\0' "$HOME" "$root/tmp/" "$root/var/tmp/"
  [ -z "${TMPDIR-}" ] || printf '%s\0' "$TMPDIR"
  [ -n "$root" ] || { own=$(getconf DARWIN_USER_TEMP_DIR 2>/dev/null) && printf '%s\0' "$(dirname "$own")"; }
}

# For xargs: deletes a file, and prints an x. A file that cannot be deleted is emptied.
delete_file='[ -n "${1-}" ] && [ -e "$1" ] || exit 0
  rm -f -- "$1" 2>/dev/null || : >"$1" || exit 1
  printf x'

# Deletes every changed file that has one of the texts. A file that the build has locked is opened first.
delete_files_with() { # TEXTS MINUTES
  deleted=''
  [ -s "$1" ] || return 0
  folders_of_account | xargs -0 sh -c 'minutes=$1; shift
    find "$@" -user "$(id -u)" -cmin "-$minutes" \( -type d ! -perm -700 -o -type f ! -perm -600 \) \
      -exec chmod u+rwX {} \;' sh "$2" 2>/dev/null
  deleted=$(folders_of_account | xargs -0 sh -c 'texts=$1 minutes=$2; shift 2
    find "$@" -type f -cmin "-$minutes" ! -path "$texts" -print0 2>/dev/null' sh "$1" "$2" |
    LC_ALL=C xargs -0 -n 200 -P 4 sh -c 'texts=$1 delete=$2; shift 2
      grep -alsF --null -f "$texts" -- "$@" | xargs -0 -n 1 sh -c "$delete" sh' sh "$1" "$delete_file") ||
    fail 'a file with a secret could not be deleted'
}

clean() { # STATE BUILD ATTEMPT BYTES MINUTES
  texts=$state/kept-texts
  trap 'rm -f "$texts"' EXIT
  (umask 077 && mkdir -p "$state" && cat >"$texts") || fail 'the disk of the VM cannot be written'
  [ "$(wc -c <"$texts")" -eq "$4" ] || exit 3
  cut_network
  "${0%/*}/build.sh" kill "$@"
  "${0%/*}/monitor-control.sh" stop "$@"
  left=$(end_processes_of_build) || fail "$left"
  remove_secrets "$@"
  delete_files_with "$texts" "$5"
  left=$(end_processes_of_build) || fail "$left"
  cut_network # no process of the build is left that could have changed the address
  echo "files=${#deleted}"
}

subcommand=${1-}
shift
on_attempt "$@"
case $subcommand in
  clean) clean "$@" ;;
  *) no_such_subcommand ;;
esac
