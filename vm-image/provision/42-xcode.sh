#!/bin/sh
# Selects Xcode, accepts its licence, and runs its first launch. Xcode must already be in the image, because a
# download needs an Apple account.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='Xcode is ready'
fix='put Xcode into /Applications, or begin with an image that has it; if you only build for Android, use --skip xcode'

# Sets `app` to the Xcode with the last name: Xcode_26.6.app comes after Xcode_26.5.app and Xcode.app.
find_newest_xcode() {
  app=''
  for candidate in "$root"/Applications/Xcode*.app; do
    [ ! -d "$candidate/Contents/Developer" ] || app=$candidate
  done
}

check() {
  selected=$(xcode-select -p 2>/dev/null)
  find_newest_xcode
  case $selected in
    *.app/Contents/Developer)
      version=$(xcodebuild -version 2>/dev/null)
      version=${version%%
*}
      if ! xcodebuild -license check >/dev/null 2>&1; then
        missing 'the licence of Xcode is not accepted'
      elif ! xcodebuild -checkFirstLaunchStatus >/dev/null 2>&1; then
        missing 'the first launch of Xcode is not done'
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
  find_newest_xcode
  case $(xcode-select -p 2>/dev/null) in
    *.app/Contents/Developer) ;;
    *)
      if [ -z "$app" ]; then
        problem='there is no Xcode in /Applications, and a download would need an Apple account'
        return 1
      fi
      attempt xcode-select -s "$app/Contents/Developer" || return
      ;;
  esac
  attempt xcodebuild -license accept && attempt xcodebuild -runFirstLaunch
}

step "$@"
