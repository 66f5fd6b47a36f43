#!/bin/bash
# Starts, watches and stops the monitor of an attempt.
#
#   monitor-control.sh start STATE BUILD ATTEMPT CONTROLLER WORKER SECONDS    its token is on standard input
#   monitor-control.sh alive STATE BUILD ATTEMPT          ends with 0 while the monitor lives
#   monitor-control.sh stop  STATE BUILD ATTEMPT          stops it, with SIGKILL after 2 s; ends with 0
#   monitor-control.sh log   STATE BUILD ATTEMPT BYTES    the last bytes that it printed
#
# Invariant: at most one monitor of an attempt runs. `start` stops an earlier one.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

# Starts the monitor in the background and prints the id of its process group. The subshell leads the group,
# so that one signal to the group also reaches the monitor.
start_monitor() { # STATE BUILD ATTEMPT CONTROLLER WORKER SECONDS
  export_attempt "$@"
  mkdir -p "$state" && chmod 700 "$state" || exit 1
  unset token
  IFS= read -r token || exit 1
  [ -f "$state/monitor.pgid" ] && kill -TERM -- "-$(cat "$state/monitor.pgid")" 2>/dev/null
  set -m
  (printf '%s\n' "$token" | "$root/usr/local/bin/vm-monitor.sh" "$4" "$2" "$5" - "$6") >"$state/monitor.log" 2>&1 &
  echo $! >"$state/monitor.pgid"
  echo $!
}

is_monitor_alive() {
  [ -f "$state/monitor.pgid" ] && alive "$(cat "$state/monitor.pgid")"
}

# Sends SIGTERM once, because the monitor stops on it at once. After 2 s it sends SIGKILL.
stop_monitor() {
  [ -f "$state/monitor.pgid" ] || exit 0
  pid=$(cat "$state/monitor.pgid")
  kill -TERM -- "-$pid" 2>/dev/null
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    alive "$pid" || exit 0
    sleep 0.2
  done
  kill -KILL -- "-$pid" 2>/dev/null
  exit 0
}

show_log() { # STATE BUILD ATTEMPT BYTES
  [ ! -f "$state/monitor.log" ] || tail -c "$4" "$state/monitor.log"
}

subcommand=${1-}
shift
on_attempt "$@"
case $subcommand in
  start) start_monitor "$@" ;;
  alive) is_monitor_alive ;;
  stop) stop_monitor ;;
  log) show_log "$@" ;;
  *) no_such_subcommand ;;
esac
