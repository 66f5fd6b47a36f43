#!/bin/bash
# Starts the command of a build, prints its state, kills it, and hands over its number.
#
#   build.sh start  STATE BUILD ATTEMPT BYTES    a script of environment and command is on standard input
#   build.sh status STATE BUILD ATTEMPT          some lines; nothing if it has not been started
#   build.sh usage  STATE BUILD ATTEMPT          what the account uses, also before the start
#   build.sh kill   STATE BUILD ATTEMPT          always ends with 0
#   build.sh app    STATE BUILD ATTEMPT          the app that the build asks a number for; nothing if none
#   build.sh number STATE BUILD ATTEMPT BYTES    the number for the build is on standard input
#
# Invariant: the command starts at most once. A second `start` finds $state/started and does nothing.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=vm-image/guest/activity.sh
. "${0%/*}/activity.sh"

# The processes are listed this often, because that costs more than all else in the status.
usage_interval=10

# Starts the build in the background and returns at once. It first checks the length of the script (exit code
# 3), because a dropped connection looks like the end of the script, and half a command could do anything. The
# exit code of the build is saved as the name of an empty file, because that also works on a full disk. The
# build prints into a file and not into a pipe, so that it never waits for a reader.
start_build() { # STATE BUILD ATTEMPT BYTES
  export_attempt "$@"
  (
    umask 077
    cat >"$state/build.tmp"
  ) || exit 1
  [ "$(wc -c <"$state/build.tmp")" -eq "$4" ] || exit 3
  mkdir "$state/started" 2>/dev/null || {
    rm -f "$state/build.tmp"
    exit 0
  }
  boot_session >"$state/boot"
  mv "$state/build.tmp" "$state/build.sh" && mkdir -p "$root/tmp" && : >"$log" || exit 1
  export CI=1
  [ ! -d "$state/secrets" ] || export TARTBEAT_SECRETS="$state/secrets"
  set -m
  (
    cd "$state/source" && /bin/bash -l "$state/build.sh"
    : >"$state/exit.$?"
  ) >>"$log" 2>&1 </dev/null &
  echo $! >"$state/build.pgid"
}

# Prints `alive=0|1`, `exit=N` (empty without an exit code), `restarted=0|1`, for a build that runs the lines
# of show_usage, and `size=BYTES`. The order matters: a dead process has already written its exit code, and a
# size that is read after the exit code covers everything that the command printed. `restarted=1` means that
# macOS has started again since the build began.
show_status() {
  [ -d "$state/started" ] || exit 0
  up=0
  alive "$(cat "$state/build.pgid" 2>/dev/null || echo 0)" && up=1
  code=
  for file in "$state"/exit.*; do [ -e "$file" ] && code=${file##*.}; done
  restarted=0
  session=$(boot_session)
  [ -s "$state/boot" ] && [ -n "$session" ] && [ "$session" != "$(cat "$state/boot")" ] && restarted=1
  echo "alive=$up"
  echo "exit=$code"
  echo "restarted=$restarted"
  [ "$up$code" != 1 ] || show_usage "$usage_interval"
  echo "size=$(($(wc -c <"$log" 2>/dev/null || echo 0)))"
}

has_members() { # PROCESS-GROUP
  ps -axo pgid=,stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'
}

# Sends TERM to the process group of the build, and KILL after 5 s. A process that has left the group keeps
# running until the VM is deleted.
kill_build() {
  [ -f "$state/build.pgid" ] || exit 0
  pid=$(cat "$state/build.pgid")
  kill -TERM -- "-$pid" 2>/dev/null
  tries=0
  while [ $tries -lt 25 ] && has_members "$pid"; do
    sleep 0.2
    tries=$((tries + 1))
  done
  kill -KILL -- "-$pid" 2>/dev/null
  exit 0
}

# A build that cannot know its number before it runs writes $state/app.json, and waits for $state/number.
# project.sh has the other side. The file is renamed into its place there, so it is whole. A build can write
# what it wants there, so only so much of it is printed.
show_app() {
  [ ! -f "$state/app.json" ] || head -c 4096 "$state/app.json"
}

# Exit code 3: fewer or more than BYTES bytes came.
write_number() { # STATE BUILD ATTEMPT BYTES
  cat >"$state/number.tmp" || exit 1
  [ "$(wc -c <"$state/number.tmp")" -eq "$4" ] || exit 3
  mv "$state/number.tmp" "$state/number"
}

subcommand=${1-}
shift
on_attempt "$@"
case $subcommand in
  start) start_build "$@" ;;
  status) show_status ;;
  usage) show_usage 0 ;;
  kill) kill_build ;;
  app) show_app ;;
  number) write_number "$@" ;;
  *) no_such_subcommand ;;
esac
