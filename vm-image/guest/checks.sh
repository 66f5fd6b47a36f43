#!/bin/bash
# Answers the questions of the agent's health checks.
#
#   checks.sh disk
#   checks.sh clock             prints the seconds since 1970
#   checks.sh set-clock TIME    MMDDhhmmYYYY.SS in UTC; needs sudo without a password for date
#   checks.sh monitor           prints the path of the monitor; fails if the file is missing
#   checks.sh curl
#   checks.sh controller URL    prints the body of the answer, then its HTTP status on a line of its own
#   checks.sh image             prints the findings of tartbeat-verify as JSON; nothing if it is not installed
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

find_monitor() {
  monitor=$root/usr/local/bin/vm-monitor.sh
  [ -x "$monitor" ] && echo "$monitor"
}

# `-q` must be the first option. It makes curl ignore a .curlrc in the image.
ask_controller() { # URL
  curl -q -sS --connect-timeout 5 --max-time 10 --proto =http,https -w '\n%{http_code}\n' "$1"
}

verify_image() {
  verify=$root/usr/local/bin/tartbeat-verify
  [ ! -x "$verify" ] || "$verify" --json </dev/null
  exit 0
}

case ${1-} in
  disk) df -k / ;;
  clock) date -u +%s ;;
  set-clock) sudo -n date -u "$2" >/dev/null ;;
  monitor) find_monitor ;;
  curl) command -v curl && curl --version ;;
  controller) ask_controller "$2" ;;
  image) verify_image ;;
  *) no_such_subcommand ;;
esac
