#!/bin/sh
# Blocks private networks and 169.254.169.254 for builds, with rules of pf that macOS loads at each start of
# the VM. The filter is off by default. packet-filter.conf explains its purpose. It has never run on macOS.
#
#   TARTBEAT_PACKET_FILTER   addresses of the controller, with commas: turn it on   off: turn it off
#                            empty: only check
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='What the packet filter keeps builds from'
fix="run: sudo sh ${here%/*}/provision.sh --only private-networks --packet-filter ADDRESS[,ADDRESS]"
wanted=${TARTBEAT_PACKET_FILTER:-}
template=${here%/*}/packet-filter.conf
rules=$root/etc/tartbeat-packet-filter.conf
job=$root/Library/LaunchDaemons/dev.tartbeat.packet-filter.plist

wanted_rules() { sed "s/CONTROLLER/$(printf '%s' "$wanted" | sed 's/,/, /g')/" "$template"; }

# Loads the rules into the anchor com.apple/*, which macOS's own /etc/pf.conf has. So this step changes no
# file of the system.
wanted_job() {
  cat <<END
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>dev.tartbeat.packet-filter</string>
  <key>ProgramArguments</key>
  <array>
    <string>/bin/sh</string>
    <string>-c</string>
    <string>/sbin/pfctl -a com.apple/tartbeat -f $rules &amp;&amp; /sbin/pfctl -E</string>
  </array>
  <key>RunAtLoad</key><true/>
</dict>
</plist>
END
}

is_addresses() { # TEXT
  case $1 in
    *[!0-9A-Fa-f:.,]* | ,* | *, | *,,*) return 1 ;;
    *[.:]*) return 0 ;;
  esac
  return 1
}

check() {
  on=''
  if [ -e "$rules" ] || [ -e "$job" ]; then on=yes; fi
  if [ "$wanted" = off ]; then
    if [ -n "$on" ]; then missing 'the filter is on'; else found 'the filter is off'; fi
  elif [ -z "$wanted" ]; then
    if [ -z "$on" ]; then
      found 'the filter is off (--packet-filter turns it on)'
    else
      found "the filter is on and blocks private networks, except $(sed -n 's/^controller = "{ \(.*\) }"$/\1/p' "$rules")"
    fi
  elif ! is_addresses "$wanted"; then
    missing "--packet-filter takes addresses with commas between them, or off, not '$wanted'"
  elif ! wanted_rules | cmp -s - "$rules" || ! wanted_job | cmp -s - "$job"; then
    missing "the installed rules do not match --packet-filter $wanted"
  else
    found "from the next start on, the filter blocks private networks, except $wanted"
  fi
}

apply() {
  if [ "$wanted" = off ]; then
    attempt rm -f "$rules" "$job"
    return
  fi
  is_addresses "$wanted" || return
  attempt mkdir -p "$root/etc" "${job%/*}" || return
  wanted_rules >"$rules.new" && wanted_job >"$job.new" || return
  attempt pfctl -n -f "$rules.new" &&
    attempt chown root:wheel "$rules.new" "$job.new" && attempt chmod 644 "$rules.new" "$job.new" &&
    attempt mv -f "$rules.new" "$rules" && attempt mv -f "$job.new" "$job" && return
  rm -f "$rules.new" "$job.new"
  return 1
}

step "$@"
