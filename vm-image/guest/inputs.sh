#!/bin/bash
# Writes the source and the secret files of a build into the folder of the attempt.
#
#   inputs.sh prepare        STATE BUILD ATTEMPT               makes the folder; only this account can read it
#   inputs.sh unpack         STATE BUILD ATTEMPT BYTES         the source's archive comes on standard input
#   inputs.sh secret         STATE BUILD ATTEMPT PATH BYTES    the file's content comes on standard input
#   inputs.sh remove-secrets STATE BUILD ATTEMPT               the secret files, and everything made of them
#
# A secret file gets two places: PATH below $state/secrets, and PATH below the source.
#
# Exit codes besides 0 and 1: 3 if fewer or more than BYTES bytes came, 4 if tar refuses the archive, 5 if the
# source has something else where a folder of PATH must be, or a folder where the file must be.
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

# Goes to the folder of PATH below FOLDER. Follows a link only to a folder below FOLDER. Fails if PATH leads
# through anything else. With `make` it makes the folders that are missing.
enter_folder_of() { # FOLDER PATH [make]
  top=$(cd -P -- "$1" 2>/dev/null && pwd -P) && cd -P -- "$top" || return 1
  left=$2
  while [ "${left#*/}" != "$left" ]; do
    part=${left%%/*}
    left=${left#*/}
    if [ -n "${3-}" ] && [ ! -e "./$part" ] && [ ! -L "./$part" ]; then mkdir -- "./$part" || return 1; fi
    cd -P -- "./$part" 2>/dev/null || return 1
    case $(pwd -P)/ in "$top"/*) ;; *) return 1 ;; esac
  done
}

# Writes the file under another name and renames it, so that the build never sees half of a secret. A link at
# the place of the file is deleted first, because `mv` would follow it into a folder. The list of the paths is
# for remove_secrets.
lay_secret() { # FOLDER PATH
  (
    enter_folder_of "$1" "$2" make || exit 5
    file=./${2##*/}
    [ ! -d "$file" ] || [ -L "$file" ] || exit 5
    cp "$state/secrets.tmp" ./.tartbeat-secret.tmp && chmod 600 ./.tartbeat-secret.tmp && rm -f -- "$file" &&
      mv ./.tartbeat-secret.tmp "$file"
  )
}

write_secret() { # STATE BUILD ATTEMPT PATH BYTES
  umask 077
  mkdir -p "$state/secrets" && cat >"$state/secrets.tmp" || exit 1
  [ "$(wc -c <"$state/secrets.tmp")" -eq "$5" ] || exit 3
  printf '%s\n' "$4" >>"$state/secret-paths" || exit 1
  lay_secret "$state/source" "$4" && lay_secret "$state/secrets" "$4"
  code=$?
  rm -f "$state/secrets.tmp"
  exit $code
}

# Deletes the secret files wherever the agent or an engine has put them. The build may have replaced folders
# by links, so each path is walked anew.
remove_laid_secrets() {
  [ -f "$state/secret-paths" ] || return 0
  while IFS= read -r path; do
    for folder in "$state/source" "$HOME/.tartbeat/expo/work/build"; do
      (enter_folder_of "$folder" "$path" && rm -f -- "./${path##*/}")
    done
  done <"$state/secret-paths"
}

# expo.sh has done all of this, unless something has killed it.
remove_expo_secrets() {
  rm -rf "$HOME/.tartbeat/expo/tmp" "$HOME/.tartbeat/expo/project.tar.gz"
  for part in private-access expo-leftovers; do
    # shellcheck disable=SC1090,SC1091 # a file beside this one
    [ ! -f "${0%/*}/$part.sh" ] || . "${0%/*}/$part.sh"
  done
  remove_private_access
  remove_leftovers
}

# Always ends with 0, because the agent deletes the VM soon, and with it any file that is left.
remove_secrets() {
  [ ! -f "$state/keychain" ] || TARTBEAT_STATE="$state" "$root/usr/local/bin/keychain" delete >/dev/null 2>&1
  remove_laid_secrets
  rm -rf "$state/secrets" "$state/secrets.tmp" "$state/secret-paths"
  [ ! -d "$HOME/.tartbeat/expo" ] || remove_expo_secrets >/dev/null 2>&1
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
