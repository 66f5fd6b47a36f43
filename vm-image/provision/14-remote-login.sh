#!/bin/sh
# Turns Remote Login on: sshd listens now and after each start, and lets the account in.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='Remote Login is on'
service=com.openssh.sshd
group=com.apple.access_ssh

# Succeeds if the account may log in. If the group does not exist, every account may.
is_let_in() {
  ! dscl . -read "/Groups/$group" >/dev/null 2>&1 ||
    dseditgroup -o checkmember -m "$TARTBEAT_USER" "$group" >/dev/null 2>&1
}

is_disabled() {
  case $(launchctl print-disabled system 2>/dev/null) in
    *"\"$service\" => disabled"* | *"\"$service\" => true"*) return 0 ;;
  esac
  return 1
}

check() {
  if ! launchctl print "system/$service" >/dev/null 2>&1; then
    missing 'sshd is not loaded'
  elif is_disabled; then
    missing 'sshd is loaded, but disabled from the next start on'
  elif ! is_let_in; then
    missing "sshd is loaded, but $TARTBEAT_USER is not in the group $group that may log in"
  else
    found 'sshd is loaded'
  fi
}

# Without Full Disk Access systemsetup does nothing, but still ends with 0. launchctl works without it.
apply() {
  systemsetup -f -setremotelogin on || :
  check
  case $detail in
    'sshd is'*loaded*disabled* | 'sshd is not loaded')
      attempt launchctl enable "system/$service" || return
      launchctl bootstrap system /System/Library/LaunchDaemons/ssh.plist ||
        attempt launchctl load -w /System/Library/LaunchDaemons/ssh.plist || return
      ;;
  esac
  is_let_in || attempt dseditgroup -o edit -a "$TARTBEAT_USER" -t user "$group"
}

step "$@"
