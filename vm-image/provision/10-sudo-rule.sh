#!/bin/sh
# Allows three commands of sudo without a password. The agent uses them to set the clock of a VM that has
# slept, to shut a VM down, and to cut the network of a VM that is kept after a failure. The last one loads
# only one file of the image, so a build can only cut itself off with it.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='sudo sets the clock, shuts down and cuts the network without a password'
rule_file=$root/etc/sudoers.d/tartbeat
cut_network='/sbin/pfctl -F all -E -f /usr/local/share/tartbeat/guest/kept.conf'

check() {
  if is_root; then allowed=$(sudo -n -l -U "$TARTBEAT_USER" 2>/dev/null); else allowed=$(sudo -n -l 2>/dev/null); fi
  if awk -v cut="$cut_network" '
    sub(/.*NOPASSWD: */, "") {
      count = split($0, commands, / *, */)
      for (i = 1; i <= count; i++) may[commands[i]] = 1
    }
    END { exit !(("ALL" in may) || (("/bin/date" in may) && ("/sbin/shutdown" in may) && (cut in may))) }' <<END
$allowed
END
  then
    found "$TARTBEAT_USER may run date and shutdown, and cut the network"
  else
    missing "sudo asks $TARTBEAT_USER for a password for date, for shutdown or to cut the network"
  fi
}

apply() {
  case $TARTBEAT_USER in
    '' | *[!A-Za-z0-9_.-]*)
      problem="'$TARTBEAT_USER' is not a plain account name"
      return 1
      ;;
  esac
  # sudo ignores files with a dot in their name, so the unfinished file cannot break sudo.
  attempt mkdir -p "$root/etc/sudoers.d" || return
  printf '%s ALL=(root) NOPASSWD: /bin/date, /sbin/shutdown, %s\n' "$TARTBEAT_USER" "$cut_network" >"$rule_file.new" || return
  attempt visudo -cf "$rule_file.new" &&
    attempt chown root:wheel "$rule_file.new" &&
    attempt chmod 440 "$rule_file.new" &&
    attempt mv -f "$rule_file.new" "$rule_file" && return
  rm -f "$rule_file.new"
  return 1
}

step "$@"
