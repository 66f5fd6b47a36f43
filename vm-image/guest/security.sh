#!/bin/bash
# Stands in for `security` in the processes of Expo's engines, first on their PATH.
#
# The engines ask `security find-identity -v -s (TEAM) KEYCHAIN` whether a certificate was imported. On macOS
# 26 and later the answer with -v is 0 even for identities that sign. So there this script answers that one
# call: it asks without -v, signs a copy of a small program with each identity, and prints those that could
# sign. It hands every other call, and on older systems every call, to the real program. Arguments, input and
# exit code stay as they are.
#
# Invariant: an identity is printed only after codesign has signed with it, or if the real program prints it.
#
#   $TARTBEAT_ROOT    is put before every path of the VM; empty in real images, set by tests and the simulator
#   $HOME/.tartbeat/expo/signing.log    gets the words of codesign, because the engine shows none

root=${TARTBEAT_ROOT-}
real=$root/usr/bin/security
# The first release of macOS whose find-identity -v shows no identity.
first_release=26
# codesign waits for ever for a click if a key is not opened to it, and nobody sees the dialog.
sign_within_s=20

is_affected() {
  version=$(sw_vers -productVersion 2>/dev/null </dev/null)
  [ "${version%%.*}" -ge "$first_release" ] 2>/dev/null
}

note() {
  [ ! -d "$HOME/.tartbeat/expo" ] || printf '%s\n' "$1" >>"$HOME/.tartbeat/expo/signing.log"
}

# Prints the lines of the identities: those above the list of the valid ones.
identities() { # TEXT KEYCHAIN
  "$real" find-identity -s "$1" "$2" </dev/null 2>/dev/null | LC_ALL=C sed '/Valid identities only/,$d' |
    LC_ALL=C sed -n 's/^ *[0-9][0-9]*) \([0-9A-Fa-f]\{40\} ".*"\).*$/\1/p'
}

# Runs codesign, and kills it when it takes too long. Its words are in the file.
sign_in_time() { # FILE ARGUMENT …
  output=$1
  shift
  codesign "$@" >"$output" 2>&1 </dev/null &
  looks=0
  while [ "$looks" -lt $((sign_within_s * 5)) ]; do
    case "$(ps -o stat= -p $! 2>/dev/null)" in '' | Z*) break ;; esac
    looks=$((looks + 1))
    sleep 0.2
  done
  if [ "$looks" -ge $((sign_within_s * 5)) ]; then
    kill -KILL $! 2>/dev/null
    printf 'it did not end within %s s, so it waits for a click: the key is not opened to it.\n' "$sign_within_s" >>"$output"
  fi
  wait $! 2>/dev/null
}

# Signs without a time stamp, which would need Apple's server.
can_sign() { # SHA1 KEYCHAIN
  rm -f "$folder/program"
  cp "$root/usr/bin/true" "$folder/program" 2>/dev/null || cp /usr/bin/true "$folder/program" || return
  chmod u+w "$folder/program"
  sign_in_time "$folder/words" --force --timestamp=none --sign "$1" --keychain "$2" "$folder/program" &&
    codesign -v "$folder/program" >"$folder/words" 2>&1 </dev/null && return
  note "codesign cannot sign with $1: $(cat "$folder/words")"
  return 1
}

# Succeeds if at least one identity was printed.
answer() { # TEXT KEYCHAIN
  folder=$(mktemp -d "${TMPDIR:-/tmp}/security.XXXXXX") || return
  trap 'rm -rf "$folder"' EXIT
  # The file of a keychain that was made as NAME.keychain is NAME.keychain-db.
  keychain=$2
  [ -e "$keychain" ] || [ ! -e "$keychain-db" ] || keychain=$keychain-db
  proven=0
  while IFS= read -r identity; do
    if [ -n "$identity" ] && can_sign "${identity%% *}" "$keychain"; then
      proven=$((proven + 1))
      printf '%3s) %s\n' "$proven" "$identity"
    fi
  done <<EOF
$(identities "$1" "$2")
EOF
  [ "$proven" -gt 0 ] && printf '     %s valid identities found\n' "$proven"
}

if [ "$#" -eq 5 ] && [ "$1 $2 $3" = 'find-identity -v -s' ] && is_affected; then
  # In a process of its own, so that its trap has removed the folder before exec.
  (answer "$4" "$5") && exit
fi
exec "$real" "$@"
