#!/bin/sh
# Xcode: selected, licence accepted, first launch done. It cannot be downloaded without an Apple account, so
# it has to be in the image that the VM was made from.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/lib.sh"

title='Xcode is ready'
fix='put Xcode into /Applications, or begin with an image that has it; builds for Android alone do without: --skip xcode'

# The last by name: Xcode_26.6.app comes after Xcode_26.5.app and Xcode.app.
newest_xcode() {
  newest=
  for app in "$root"/Applications/Xcode*.app; do
    [ ! -d "$app/Contents/Developer" ] || newest=$app
  done
  printf '%s' "$newest"
}

check() {
  selected=$(xcode-select -p 2>/dev/null)
  app=$(newest_xcode)
  case $selected in
    *.app/Contents/Developer)
      version=$(xcodebuild -version 2>/dev/null | head -n 1)
      if ! xcodebuild -license check >/dev/null 2>&1; then
        missing 'its licence is not accepted'
      elif ! xcodebuild -checkFirstLaunchStatus >/dev/null 2>&1; then
        missing 'its first launch is not done'
      elif [ -z "$version" ]; then
        missing 'xcodebuild -version prints nothing'
      else
        found "$version in ${selected%/Contents/Developer}"
      fi
      ;;
    *) if [ -n "$app" ]; then missing "$app is not selected"; else missing 'there is no Xcode in /Applications'; fi ;;
  esac
}

apply() {
  app=$(newest_xcode)
  case $(xcode-select -p 2>/dev/null) in
    *.app/Contents/Developer) ;;
    *)
      if [ -z "$app" ]; then
        problem='Xcode cannot be downloaded without an Apple account'
        return 1
      fi
      attempt xcode-select -s "$app/Contents/Developer" || return
      ;;
  esac
  attempt xcodebuild -license accept && attempt xcodebuild -runFirstLaunch
}

step "$@"
