#!/bin/sh
# Writes down what this image is, so that an agent can tell two images apart. Two Macs whose images have the
# same two lines in /usr/local/share/tartbeat/image are the same:
#
#   digest=        digest of the image that all began with; empty if nobody has said it
#   provisioned=   SHA-256 of the file `provisioned` beside it
#
# `provisioned` lists all that was put on top: the scripts, the account, what was left out, the authorities,
# and the versions that a build finds. It has nothing of one Mac: no key, no address, no size of a disk.
#
#   TARTBEAT_BASE_DIGEST   the digest of the image that this VM was cloned from. If that image was made by
#                          these scripts on another Mac, it has a digest already, which stays
#   TARTBEAT_SKIPPED       the steps that were left out; unset: keep those that are there
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='The image says what it was made of'
file=$share/image
list=$share/provisioned
source=${here%/*}

# Sets `digest` and `provisioned` to the values in the file. Two lines of a kind are joined, and match
# nothing.
read_image() {
  digest='' provisioned=''
  [ -r "$file" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      digest=*) digest="$digest${digest:+ }${line#*=}" ;;
      provisioned=*) provisioned="$provisioned${provisioned:+ }${line#*=}" ;;
    esac
  done <"$file"
}

# Prints the SHA-256 of standard input.
sum_of() {
  sum=$(shasum -a 256 2>/dev/null)
  printf '%s\n' "${sum%% *}"
}

# Prints the versions that a build finds, each with a prefix, because a profile may print lines of its own.
versions() {
  # shellcheck disable=SC2016 # for the build's shell
  as_build '
    export EAS_NO_UPDATE_NOTIFIER=1 FASTLANE_SKIP_UPDATE_CHECK=1 FASTLANE_OPT_OUT_USAGE=1
    tell() { # NAME PREFIX TEXT: the word that follows the prefix, on the last line that begins with both
      version=none
      while IFS= read -r line; do
        case $line in "$2"[0-9]*) line=${line#"$2"} version=${line%% *} ;; esac
      done <<END
$3
END
      case $1:$version in node:[0-9]*) version=v$version ;; esac
      printf "tartbeat: %s %s\n" "$1" "$version"
    }
    tell node v "$(node --version 2>/dev/null)"
    tell mise "" "$(mise --version 2>/dev/null)"
    tell eas-cli eas-cli/ "$(eas --version 2>/dev/null)"
    tell expo-engine "" "$(eas-cli-local-build-plugin --version 2>/dev/null)"
    tell ruby "ruby " "$(ruby --version 2>/dev/null)"
    tell fastlane "fastlane " "$(fastlane --version 2>/dev/null)"
    tell cocoapods "" "$(pod --version 2>/dev/null)"' 2>/dev/null |
    sed -n 's/^tartbeat: //p'
}

skipped() {
  if [ -n "${TARTBEAT_SKIPPED+set}" ]; then
    names=$(printf '%s\n' "$TARTBEAT_SKIPPED" | tr ' ' '\n' | sed '/^$/d' | sort -u)
    one_line "${names:-none}"
  else
    sed -n 's/^skipped //p' "$list" 2>/dev/null
  fi
}

inputs() {
  # shellcheck disable=SC2046 # a list of files without spaces
  printf 'scripts %s\n' "$(cd "$source" && shasum -a 256 $(shared_files) 2>/dev/null | sum_of)"
  printf 'account %s\n' "$TARTBEAT_USER"
  printf 'skipped %s\n' "$(skipped)"
  printf 'packet-filter %s\n' "$([ -e "$root/etc/tartbeat-packet-filter.conf" ] && echo on || echo off)"
  for authority in "$share"/authorities/????????????????????????????????????????????????????????????????.pem; do
    [ ! -e "$authority" ] || { authority=${authority##*/} && printf 'authority %s\n' "${authority%.pem}"; }
  done
  printf 'macos %s\n' "$(sw_vers -productVersion 2>/dev/null)"
  xcode=$(xcodebuild -version 2>/dev/null)
  printf 'xcode %s\n' "$(one_line "${xcode:-none}")"
  value_after 'Homebrew ' "$(as_brew --version 2>/dev/null)"
  printf 'homebrew %s\n' "${value:-none}"
  versions
}

check() {
  case ${TARTBEAT_BASE_DIGEST:-} in
    '') ;;
    sha256:*[!0-9a-f]*) missing "--base-digest must be sha256: and 64 digits, not '$TARTBEAT_BASE_DIGEST'" && return ;;
    sha256:????????????????????????????????????????????????????????????????) ;;
    *) missing "--base-digest must be sha256: and 64 digits, not '$TARTBEAT_BASE_DIGEST'" && return ;;
  esac
  now=$(inputs)
  read_image
  if [ ! -f "$file" ] || [ ! -f "$list" ]; then
    missing "there is no $file"
  elif [ "$now" != "$(cat "$list")" ]; then
    missing "something was changed since $list was written: now $(printf '%s\n' "$now" | grep -vxF -f "$list" | head -n 1)"
  elif [ "$provisioned" != "$(sum_of <"$list")" ] || [ "$digest" != "${digest:-${TARTBEAT_BASE_DIGEST:-}}" ]; then
    missing "$file does not match $list, or the digest"
  else
    found "digest ${digest:-unknown}, provisioned $provisioned"
  fi
}

apply() {
  case $detail in --base-digest*) problem=$detail && return 1 ;; esac
  attempt mkdir -p "$share" || return
  # The list of the check that has just run. The next check makes it again.
  printf '%s\n' "$now" >"$list.new" || return
  printf 'digest=%s\nprovisioned=%s\n' "${digest:-${TARTBEAT_BASE_DIGEST:-}}" "$(sum_of <"$list.new")" >"$file.new" || return
  attempt chown root:wheel "$list.new" "$file.new" && attempt chmod 644 "$list.new" "$file.new" &&
    attempt mv -f "$list.new" "$list" && attempt mv -f "$file.new" "$file"
}

step "$@"
