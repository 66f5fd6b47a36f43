#!/bin/sh
# Makes the VM trust certificate authorities of one's own, for a proxy or a registry with a private
# certificate. The system trusts them, so Xcode, Swift and Apple's curl do too. For programs with a list of
# their own there are two files, which build-environment.sh names: own.pem for Node, and all.pem, with the
# public authorities, for Ruby, git and Homebrew's curl. Each JDK gets them in its own list.
#
#   TARTBEAT_AUTHORITIES   folder of the authorities to add, as split_authorities makes it; empty: only check
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='The authorities of one'"'"'s own are trusted'
wanted=${TARTBEAT_AUTHORITIES:-}
folder=$share/authorities
keychain=$root/Library/Keychains/System.keychain
public=$root/etc/ssl/cert.pem
# macOS may take up to this time to answer. It asks no user, because nobody is at the screen.
readonly TRUST_LIMIT_S=60

# The authorities of a folder; their names are their SHA-256.
authorities_in() { # FOLDER
  [ -z "$1" ] || find "$1" -name '????????????????????????????????????????????????????????????????.pem' 2>/dev/null | sort
}

jdks() {
  for keytool in "$root"/Library/Java/JavaVirtualMachines/*/Contents/Home/bin/keytool \
    "$brew_prefix"/opt/openjdk*/libexec/openjdk.jdk/Contents/Home/bin/keytool; do
    [ ! -x "$keytool" ] || printf '%s\n' "$keytool"
  done
}

alias_of() { # FILE
  alias=${1##*/}
  printf 'tartbeat-%.16s' "$alias"
}

is_trusted() { security verify-cert -L -l -c "$1" >/dev/null 2>&1; } # FILE

is_in_jdk() { # KEYTOOL FILE
  "$1" -list -cacerts -storepass changeit -alias "$(alias_of "$2")" >/dev/null 2>&1
}

check() {
  for file in $(authorities_in "$wanted"); do
    if ! cmp -s "$file" "$folder/${file##*/}"; then
      missing "$folder does not have $(name_of_authority "$file")"
      return
    fi
  done
  files=$(authorities_in "$folder")
  if [ -z "$files" ]; then
    found 'there are none (--ca FILE adds one)'
    return
  fi
  # shellcheck disable=SC2086 # a list of files without spaces
  if ! cat $files | cmp -s - "$folder/own.pem" || ! cat "$public" $files | cmp -s - "$folder/all.pem"; then
    missing "$folder/own.pem and all.pem do not have all of them"
    return
  fi
  for file in $files; do
    if ! is_trusted "$file"; then
      missing "the system does not trust $(name_of_authority "$file")"
      return
    fi
    for keytool in $(jdks); do
      if ! is_in_jdk "$keytool" "$file"; then
        missing "${keytool%/bin/keytool} does not know $(name_of_authority "$file")"
        return
      fi
    done
  done
  found "$(printf '%s\n' "$files" | wc -l | tr -d ' ') trusted: $(for file in $files; do name_of_authority "$file"; done | one_line_of)"
}

one_line_of() { tr '\n' ';' | sed 's/;$//; s/;/; /g'; }

add_to_system() { # FILE KIND
  within "$TRUST_LIMIT_S" security add-trusted-cert -d -r "$2" -k "$keychain" "$1"
}

# Since macOS 11 root alone may not change the trust of the system: a person has to type a password at the
# screen. There are three ways around that, and it depends on the release which of them works. An image whose
# system integrity protection is off may allow more.
trust() { # FILE
  kind=trustRoot
  [ "$(openssl x509 -in "$1" -noout -subject | sed 's/^subject=//')" = "$(openssl x509 -in "$1" -noout -issuer | sed 's/^issuer=//')" ] || kind=trustAsRoot
  add_to_system "$1" "$kind"
  ! is_trusted "$1" || return 0
  right=com.apple.trust-settings.admin
  if rule=$(security authorizationdb read "$right" 2>/dev/null) && security authorizationdb write "$right" allow; then
    add_to_system "$1" "$kind"
    printf '%s\n' "$rule" | security authorizationdb write "$right"
  fi
  ! is_trusted "$1" || return 0
  program=$(mktemp -d "${TMPDIR:-/tmp}/tartbeat.XXXXXX") || return
  cat >"$program/trust.swift" <<'END'
import Foundation
import Security
guard let pem = try? String(contentsOfFile: CommandLine.arguments[1], encoding: .utf8),
  let der = Data(base64Encoded: pem.components(separatedBy: .newlines).filter { !$0.hasPrefix("-----") }.joined()),
  let certificate = SecCertificateCreateWithData(nil, der as CFData)
else { exit(2) }
_ = SecItemAdd([kSecClass: kSecClassCertificate, kSecValueRef: certificate] as CFDictionary, nil)
exit(SecTrustSettingsSetTrustSettings(certificate, .admin, nil) == errSecSuccess ? 0 : 1)
END
  within "$TRUST_LIMIT_S" swift "$program/trust.swift" "$1"
  rm -rf "$program"
  ! is_trusted "$1" || return 0
  problem="macOS lets nobody but a person at its screen trust $(name_of_authority "$1")"
  fix="start the VM with a window (tart run VM), type there: sudo security add-trusted-cert -d -r $kind -k $keychain $1 and then run this again"
  return 1
}

apply() {
  attempt mkdir -p "$folder" || return
  for file in $(authorities_in "$wanted"); do
    attempt cp "$file" "$folder/${file##*/}" || return
  done
  files=$(authorities_in "$folder")
  # shellcheck disable=SC2086
  { cat $files >"$folder/own.pem.new" && cat "$public" $files >"$folder/all.pem.new"; } || return
  attempt mv -f "$folder/own.pem.new" "$folder/own.pem" && attempt mv -f "$folder/all.pem.new" "$folder/all.pem" &&
    attempt chmod -R u=rwX,go=rX "$folder" && attempt chown -R root:wheel "$folder" || return
  for file in $files; do
    is_trusted "$file" || trust "$file" || return
    for keytool in $(jdks); do
      is_in_jdk "$keytool" "$file" ||
        attempt "$keytool" -importcert -noprompt -trustcacerts -cacerts -storepass changeit -alias "$(alias_of "$file")" -file "$file" || return
    done
  done
}

step "$@"
