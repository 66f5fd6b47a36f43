#!/bin/sh
# Turns software updates off, because an update during a build uses its disk and CPU or restarts the VM.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='Software updates are off'
domain=/Library/Preferences/com.apple.SoftwareUpdate
keys='AutomaticCheckEnabled AutomaticDownload AutomaticallyInstallMacOSUpdates ConfigDataInstall CriticalUpdateInstall'

check() {
  for key in $keys; do
    value=$(defaults read "$domain" "$key" 2>/dev/null)
    if [ "$value" != 0 ]; then
      missing "$key is ${value:-not set, which means on}"
      return
    fi
  done
  if is_root; then
    case $(softwareupdate --schedule 2>&1) in
      *[Oo]ff* | *OFF*) ;;
      *)
        missing 'softwareupdate --schedule is on'
        return
        ;;
    esac
  fi
  found 'schedule off, macOS downloads and installs no update by itself'
}

apply() {
  attempt softwareupdate --schedule off || return
  for key in $keys; do
    attempt defaults write "$domain" "$key" -bool false || return
  done
}

step "$@"
