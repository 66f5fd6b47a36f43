#!/bin/bash
# Prints a part of the log of the build, or follows the build and its log.
#
#   log.sh read   FIRST BYTES                       at most BYTES bytes, beginning with byte FIRST
#   log.sh follow STATE BUILD ATTEMPT FIRST LOOKS   the build, and its log from byte FIRST on, as frames
#
# The first byte of the log has the number 1. `follow` looks every 0.25 s and prints two kinds of frames:
#
#   status BYTES    then so many bytes: what `build.sh status` prints
#   log BYTES       then so many bytes of the log, after those of the frame before
#
# It prints a status at once, when the command has ended, and after every LOOKS looks.
#
# Invariant: a frame is complete, or it is the last one. `follow` ends when nobody reads it: it notices this
# at its next frame, which comes after at most LOOKS looks.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

# One frame of the log has at most 4 MiB. The agent accepts no longer one.
most=4194304

has_ended() {
  for file in "$state"/exit.*; do [ ! -e "$file" ] || return 0; done
  return 1
}

print_status() { # STATE BUILD ATTEMPT
  text=$("${0%/*}/build.sh" status "$@") || exit 1
  [ -z "$text" ] || text="$text
"
  printf 'status %s\n%s' "${#text}" "$text" || exit 0
}

# Prints the next bytes of the log as one frame. The first dd moves to their place, and the second reads them
# all at once and says `1+0 records in`. It says something else if the build has just shortened its log, or if
# something killed it. Then the frame is too short, so it must be the last one.
print_bytes() { # BYTES
  printf 'log %s\n' "$1" || exit 0
  report=$({ dd bs=1 skip="$((first - 1))" count=0 2>/dev/null; dd bs="$1" count=1 2>&1 >&4; } <"$log")
  case $report in '1+0 '*) ;; *) exit 1 ;; esac
  first=$((first + $1))
}

# The connection of an earlier `follow` may have broken without a word, and it would wait for the network. So
# each `follow` goes on only while its own file exists, and deletes those of all others. It makes its own
# before that: two that begin together may both end, but never both go on. If the file cannot be made, because
# the disk is full or the folder is gone, it goes on without one.
follow() { # STATE BUILD ATTEMPT FIRST LOOKS
  on_attempt "$@"
  export LC_ALL=C
  exec 4>&1
  mine=$state/follow.$$
  { true >"$mine"; } 2>/dev/null || mine=/
  for other in "$state"/follow.*; do [ "$other" = "$mine" ] || rm -f "$other"; done
  first=$4 looks=0 ended=
  while [ -e "$mine" ]; do
    if [ -z "$ended" ] && has_ended; then ended=yes looks=0; fi
    [ $((looks % $5)) -ne 0 ] || print_status "$1" "$2" "$3"
    looks=$((looks + 1))
    new=$(($(wc -c <"$log" 2>/dev/null || echo 0) - first + 1))
    [ $new -le $most ] || new=$most
    [ $new -le 0 ] || print_bytes "$new"
    [ $new -eq $most ] || sleep 0.25
  done
}

subcommand=${1-}
shift
case $subcommand in
  read) tail -c "+$1" "$log" | head -c "$2" ;;
  follow) follow "$@" ;;
  *) no_such_subcommand ;;
esac
