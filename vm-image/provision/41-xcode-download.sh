#!/bin/sh
# Installs Xcode from a file that somebody has downloaded from developer.apple.com with an Apple account.
# `xip` checks Apple's signature while it unpacks.
#
#   TARTBEAT_XCODE_FILE   the Xcode*.xip; empty: nothing to install
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='Xcode is installed from the download'
file=${TARTBEAT_XCODE_FILE:-}
# Holds the SHA-256 of the file, and the Xcode that came out of it.
note=$share/xcode-download

check() {
  sum='' app=''
  [ ! -r "$note" ] || read -r sum app <"$note"
  if [ -z "$file" ]; then
    found "${app:-no download was given}${app:+ is from a download}"
    return
  fi
  if [ -n "$app" ] && [ -d "$root/Applications/$app" ] && [ "$sum" = "$(shasum -a 256 "$file" 2>/dev/null | awk '{ print $1 }')" ]; then
    found "$root/Applications/$app"
  else
    missing "${file##*/} is not installed"
  fi
}

apply() {
  unpacked=${file%/*}/xcode
  attempt as_user rm -rf "$unpacked" && attempt as_user mkdir "$unpacked" || return
  # xip unpacks into the folder that it is called in.
  # shellcheck disable=SC2016 # for the inner shell
  attempt as_user sh -c 'cd "$1" && xip --expand "$2"' sh "$unpacked" "$file" || return
  for app in "$unpacked"/Xcode*.app; do :; done
  version=$(plutil -extract CFBundleShortVersionString raw "$app/Contents/version.plist" 2>/dev/null)
  case $version in
    '' | *[!0-9.]*)
      problem="${file##*/} holds no Xcode with a version"
      return 1
      ;;
  esac
  target=$root/Applications/Xcode_$version.app
  attempt rm -rf "$target" && attempt mv "$app" "$target" && attempt mkdir -p "$share" || return
  printf '%s %s\n' "$(shasum -a 256 "$file" | awk '{ print $1 }')" "${target##*/}" >"$note"
}

step "$@"
