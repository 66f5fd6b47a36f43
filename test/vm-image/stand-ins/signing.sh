#!/bin/bash
# Stands in for `security`, `codesign` and `sw_vers` of macOS 15, 26 and 27.
#
# It has the name of the program that it stands in for. It starts as few processes as it can, because a test
# calls it dozens of times.
#
# It behaves as is known of the real programs. `find-identity -v` shows no identity from macOS 26 on. `import`
# ends with 0 for a certificate without a key, and `set-key-partition-list` with 0 although no key matched.
# `codesign` signs only with a key that is unlocked, opened to it, and in a keychain of the search list, and
# only if the chain of the certificate is complete.
#
# $SIGNING_STATE is a folder with these files; signing-mac.ts writes and reads them.
#   calls                every call: the arguments, then `<` and the line that -i read
#   macos, fails, hangs  the release; a text: calls that contain it fail; a text: they never end
#   system, search       names of certificates that the system has; the search list, one a line
#   keychains/NAME/      NAME is the path with _ for /; password, locked, locks-itself, others; identities,
#                        whose lines are SHA1|NAME|CERTIFICATE-THAT-ITS-CHAIN-NEEDS|opened to codesign
# A *.p12 is PASSWORD|SHA1|NAME|key or not|modern or not|NEEDS; a *.cer is the name of a certificate; a
# *.mobileprovision is its UUID.
cd "$SIGNING_STATE" || exit 1

fail() {
  [ -z "$1" ] || printf '%s\n' "$1" >&2
  exit 1
}

record() {
  printf '%s\n' "$1" >>calls
  IFS= read -r part <fails
  [ -z "$part" ] || case $1 in *"$part"*) fail '' ;; esac
  IFS= read -r part <hangs
  [ -z "$part" ] || case $1 in *"$part"*) exec tail -f /dev/null ;; esac
}

# Sets `keychain` to the folder of a keychain.
open_keychain() { # PATH
  keychain=keychains/${1//\//_}
  [ -d "$keychain" ] || keychain=$keychain-db
  [ -d "$keychain" ] || fail "security: $1: The specified keychain could not be found."
}

# Sets `value` to the word after an option.
value_of() { # OPTION WORD…
  option=$1 value=
  while [ "$#" -gt 2 ]; do
    shift
    [ "$1" != "$option" ] || { value=$2 && return; }
  done
}

has_line() { # TEXT FILE…
  wanted=$1
  shift
  for file; do
    while IFS= read -r line; do [ "$line" != "$wanted" ] || return 0; done <"$file"
  done
  return 1
}

is_trusted() { # NEEDED-CERTIFICATE
  [ -z "$1" ] || has_line "$1" "$keychain/others" system
}

is_password_of_keychain() { # TEXT
  IFS= read -r password <"$keychain/password"
  [ "$1" = "$password" ]
}

# Prints the identities as lines: all, or only those that count as valid.
list_identities() { # all|valid
  number=0
  while IFS='|' read -r sha1 name needs _; do
    mark=' (CSSMERR_TP_NOT_TRUSTED)'
    [ "$major" -ge 26 ] || ! is_trusted "$needs" || mark=
    [ "$1" = all ] || [ -z "$mark" ] || continue
    number=$((number + 1))
    [ "$1" = all ] || mark=
    printf '  %s) %s "%s"%s\n' "$number" "$sha1" "$name" "$mark"
  done <"$keychain/identities"
  case $1 in
    all) printf '     %s identities found\n' "$number" ;;
    *) printf '     %s valid identities found\n' "$number" ;;
  esac
}

security() {
  words=("$@")
  if [ "${1-}" = -i ]; then
    IFS= read -r line
    record "security -i < $line"
    words=()
    while [[ $line =~ ^\ *\"(([^\"\\]|\\.)*)\"(.*)$ ]]; do
      line=${BASH_REMATCH[3]}
      word=${BASH_REMATCH[1]//\\\"/\"}
      words+=("${word//\\\\/\\}")
    done
  else
    record "security $*"
  fi
  set -- "${words[@]}"
  command=${1-}
  [ "$#" -eq 0 ] || shift
  last=${!#}
  case $command in
    create-keychain)
      : >"$last"
      keychain=keychains/${last//\//_}
      mkdir -p "$keychain"
      for file in locked locks-itself others identities; do : >"$keychain/$file"; done
      value_of -p "$@"
      printf '%s\n' "$value" >"$keychain/password"
      ;;
    set-keychain-settings) open_keychain "$last" && { [ "$#" -gt 1 ] || rm -f "$keychain/locks-itself"; } ;;
    unlock-keychain)
      open_keychain "$last"
      value_of -p "$@"
      is_password_of_keychain "$value" || fail 'security: The user name or passphrase is wrong.'
      rm -f "$keychain/locked"
      ;;
    import) import "$@" ;;
    set-key-partition-list)
      open_keychain "$last"
      value_of -k "$@"
      is_password_of_keychain "$value" || fail 'security: SecKeychainItemSetAccess: wrong'
      value_of -S "$@"
      case ,$value, in *,codesign:,*) sed -i.old 's/|$/|open/' "$keychain/identities" ;; esac
      echo 'keychain: many lines'
      ;;
    list-keychains)
      if [ "${3-}" = -s ]; then
        shift 3
        printf '%s\n' "$@" >search
      else
        while IFS= read -r line; do printf '    "%s"\n' "$line"; done <search
      fi
      ;;
    find-identity)
      open_keychain "$last"
      case " $* " in
        *' -v '*) list_identities valid ;;
        *)
          printf 'Policy: Code Signing\n  Matching identities\n'
          list_identities all
          printf '\n  Valid identities only\n'
          list_identities valid
          ;;
      esac
      ;;
    cms)
      value_of -i "$@"
      IFS= read -r uuid <"$value"
      printf '<plist><dict>\n<key>UUID</key>\n\t<string>%s</string></dict></plist>\n' "$uuid"
      ;;
    delete-keychain) rm -rf "$1" "keychains/${1//\//_}" ;;
    echo-input) cat && printf '<%s>\n' "$@" ;;
    *) fail "security: unknown command \"$command\"" ;;
  esac
}

import() { # FILE …
  value_of -k "$@"
  open_keychain "$value"
  case $1 in
    *.cer)
      IFS= read -r certificate <"$1"
      ! has_line "$certificate" "$keychain/others" || fail 'security: SecKeychainItemImport: already exists'
      printf '%s\n' "$certificate" >>"$keychain/others"
      ;;
    *)
      IFS='|' read -r password sha1 name key modern needs <"$1"
      value_of -P "$@"
      [ "$password|" = "$value|$modern" ] ||
        fail 'security: SecKeychainItemImport: MAC verification failed during PKCS12 import (wrong password?)'
      [ -z "$key" ] || printf '%s|%s|%s|\n' "$sha1" "$name" "$needs" >>"$keychain/identities"
      ;;
  esac
}

codesign() {
  record "codesign $*"
  target=${!#}
  [ -e "$target" ] || fail "$target: No such file or directory"
  if [ "$1" = -v ]; then
    has_line 'signed by the stand-in' "$target" || fail "$target: not signed"
    return
  fi
  value_of --keychain "$@"
  path=$value
  open_keychain "$path"
  value_of --sign "$@"
  while IFS='|' read -r sha1 name needs opened; do
    [ "$sha1" != "$value" ] || break
  done <"$keychain/identities"
  if [ -z "$sha1" ] || ! has_line "$path" search; then
    fail 'error: The specified item could not be found in the keychain.'
  fi
  is_trusted "$needs" ||
    fail "Warning: unable to build chain to self-signed root for signer \"$name\"
$target: errSecInternalComponent"
  if [ -z "$opened" ] || [ -e "$keychain/locked" ] || [ -e "$keychain/locks-itself" ]; then
    fail "$target: errSecInternalComponent"
  fi
  echo 'signed by the stand-in' >>"$target"
}

IFS= read -r release <macos
major=${release%%.*}
program=${0##*/}
case $program in
  sw_vers) printf '%s\n' "$release" ;;
  *) "$program" "$@" ;;
esac
