#!/bin/sh
# Installs the command line tools of Xcode, because Homebrew needs their compilers and git. It uses
# softwareupdate, because `xcode-select --install` would open a window.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='The command line tools of Xcode are installed'
# While this file is there, softwareupdate lists the tools.
marker=$root/tmp/.com.apple.dt.CommandLineTools.installondemand.in-progress

check() {
  tools=$(xcode-select -p 2>/dev/null)
  if [ -n "$tools" ] && [ -d "$tools" ]; then
    found "$tools"
  elif ls -d "$root"/Applications/Xcode*.app >/dev/null 2>&1; then
    found 'they come with Xcode, which the next step selects'
  else
    missing 'xcode-select -p prints no folder that exists'
  fi
}

apply() {
  attempt mkdir -p "$root/tmp" && attempt touch "$marker" || return
  label=$(softwareupdate --list 2>&1 | sed -n 's/^ *\* Label: \(Command Line Tools.*\)$/\1/p' | tail -n 1)
  if [ -z "$label" ]; then
    problem='softwareupdate --list offers no Command Line Tools: check that the VM reaches the internet'
  else
    attempt softwareupdate --install "$label" --verbose
  fi
  rm -f "$marker"
  [ -z "$problem" ]
}

step "$@"
