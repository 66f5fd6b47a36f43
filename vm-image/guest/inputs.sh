#!/bin/bash
# Writes the source and the secret files of a build into the folder of the attempt.
#
#   inputs.sh prepare        STATE BUILD ATTEMPT               makes the folder; only this account can read it
#   inputs.sh unpack         STATE BUILD ATTEMPT BYTES         the source's archive comes on standard input
#   inputs.sh secret         STATE BUILD ATTEMPT NAME BYTES    the file's content comes on standard input
#   inputs.sh remove-secrets STATE BUILD ATTEMPT               the secret files, and the keychain made of them
#
# Exit codes besides 0 and 1: 3 if fewer or more than BYTES bytes came, 4 if tar refuses the archive.
# Each command can be repeated, because the agent repeats a command whose answer was lost.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

prepare() {
  mkdir -p "$state/source" "$root/tmp" && chmod 700 "$state"
}

# The archive is a tar, compressed or not. It is saved in a file first, for two reasons. The length of the
# file shows whether the connection dropped before the end. And GNU tar detects the compression only in a
# file.
unpack() { # STATE BUILD ATTEMPT BYTES
  mkdir -p "$state" && chmod 700 "$state" && cat >"$state/source.archive" || exit 1
  [ "$(wc -c <"$state/source.archive")" -eq "$4" ] || exit 3
  rm -rf "$state/source" && mkdir "$state/source" || exit 1
  tar -xf "$state/source.archive" -C "$state/source" || exit 4
  rm -f "$state/source.archive"
}

# Writes the file under another name and renames it, so that the build never sees half of a secret.
write_secret() { # STATE BUILD ATTEMPT NAME BYTES
  umask 077
  mkdir -p "$state/secrets" && cat >"$state/secrets.tmp" || exit 1
  [ "$(wc -c <"$state/secrets.tmp")" -eq "$5" ] || exit 3
  mv "$state/secrets.tmp" "$state/secrets/$4"
}

# Always ends with 0, because the agent deletes the VM soon, and with it any file that is left.
remove_secrets() {
  [ ! -f "$state/keychain" ] || TARTBEAT_STATE="$state" "$root/usr/local/bin/keychain" delete >/dev/null 2>&1
  rm -rf "$state/secrets" "$state/secrets.tmp"
  exit 0
}

subcommand=${1-}
shift
on_attempt "$@"
case $subcommand in
  prepare) prepare ;;
  unpack) unpack "$@" ;;
  secret) write_secret "$@" ;;
  remove-secrets) remove_secrets ;;
  *) no_such_subcommand ;;
esac
