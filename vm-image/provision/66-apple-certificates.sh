#!/bin/sh
# Installs Apple's intermediate certificates, because without them codesign cannot link the certificate of a
# build to Apple's root. They are kept as files too, for `keychain create`.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"
# shellcheck source=vm-image/provision/versions.sh
. "$here/versions.sh"

certificates="
  AppleWWDRCAG3.cer:$APPLE_G3_SHA256
  AppleWWDRCAG4.cer:$APPLE_G4_SHA256
  AppleWWDRCAG5.cer:$APPLE_G5_SHA256
  AppleWWDRCAG6.cer:$APPLE_G6_SHA256"

title="Apple's intermediate certificates are installed"
folder=$share/certificates
keychain=$root/Library/Keychains/System.keychain

has_sum() { # FILE SHA256
  [ -f "$1" ] && [ "$(shasum -a 256 "$1" 2>/dev/null | awk '{ print $1 }')" = "$2" ]
}

# Sets `hashes` to those of the certificates in the keychain, with small letters.
read_keychain() { hashes=$(security find-certificate -a -Z "$keychain" 2>/dev/null | tr '[:upper:]' '[:lower:]'); }

is_in_keychain() { # SHA256; after read_keychain
  case $hashes in *"sha-256 hash: $1"*) return 0 ;; esac
  return 1
}

check() {
  sums=$(cd "$folder" 2>/dev/null && shasum -a 256 AppleWWDRCAG*.cer 2>/dev/null)
  read_keychain
  for certificate in $certificates; do
    name=${certificate%%:*}
    sum=${certificate#*:}
    case $sums in
      *"$sum  $name"*) ;;
      *) missing "$folder/$name does not exist, or is another one" && return ;;
    esac
    if ! is_in_keychain "$sum"; then
      missing "$name is not in $keychain"
      return
    fi
  done
  found "$folder and $keychain have them"
}

# Moves a file into its place only if it is complete and has the pinned hash.
download() { # NAME SHA256
  url=https://www.apple.com/certificateauthority/$1
  attempt curl -q --fail --silent --show-error --location --proto =https --max-time 120 --retry 2 \
    --output "$folder/.$1" "$url" || return
  if ! has_sum "$folder/.$1" "$2"; then
    rm -f "$folder/.$1"
    problem="$url is not the certificate whose SHA-256 vm-image/provision/versions.sh has"
    return 1
  fi
  attempt chmod 644 "$folder/.$1" && attempt mv -f "$folder/.$1" "$folder/$1"
}

apply() {
  attempt mkdir -p "$folder" || return
  read_keychain
  for certificate in $certificates; do
    name=${certificate%%:*}
    sum=${certificate#*:}
    has_sum "$folder/$name" "$sum" || download "$name" "$sum" || return
    is_in_keychain "$sum" || attempt security import "$folder/$name" -k "$keychain" -t cert || return
  done
}

step "$@"
