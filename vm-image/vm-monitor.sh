#!/bin/sh
# Runs inside the VM as the monitor. Sends heartbeats to the controller, which show that the VM is alive.
#
#   vm-monitor.sh CONTROLLER BUILD WORKER KEY [INTERVAL]
#
#   CONTROLLER  http(s) address of the controller as the VM sees it; a trailing slash is tolerated
#   BUILD       id of the build            (letters, digits, dot, underscore, hyphen)
#   WORKER      id of the worker           (the same)
#   KEY         attempt token or worker key; "-" reads it from standard input, so that ps does not show it
#   INTERVAL    seconds between beats, 0.1 to 86400, default 30; tests use fractions
#
# Environment
#   TARTBEAT_STATE         folder of this attempt: the monitor reads "progress", and writes "monitor.pid"
#                          (default: $HOME/.tartbeat/current)
#   TARTBEAT_ATTEMPT       number of the attempt, sent with each beat; left out if unset
#   TARTBEAT_REFUSAL_SPAN  seconds of refusals after which the monitor gives up, default 60; for tests
#   TARTBEAT_REQUEST_LIMIT seconds that a request may take, default 8/10 of INTERVAL, at most 10; for tests
#
# Ends with
#    0  SIGTERM, SIGINT or SIGHUP
#    3  the controller answered "action":"stop"
#    4  409 or 410: another attempt is current, or this one has ended
#    5  401, 403 or 404 with an error code of the controller, at least three times and for 60 s or longer
#   64  wrong arguments      69  no curl      73  TARTBEAT_STATE cannot be used
#
# Invariant: nothing else ends the monitor. On any other failure it prints one line and repeats the beat after
# 5 s.
#
# The script is plain POSIX sh, so that macOS's bash 3.2 and any other shell run it. It does not use `set -e`,
# because a failed request must not end it. It reads no clock, because the agent may set the VM's clock at any
# moment. It counts the time of its sleeps instead.
set -u

# With the locale C, `tr` and the patterns below work on bytes, and numbers have a decimal point.
LC_ALL=C
export LC_ALL
umask 077
# If the caller has exported a variable with this name, the key would also be exported, and other processes
# could read it.
unset key

say() { printf '[VM Monitor] %s\n' "$*" 2>/dev/null; }

die() { # CODE MESSAGE
  printf '[VM Monitor] %s\n' "$2" >&2
  exit "$1"
}

usage() { # MESSAGE
  die 64 "$1
usage: vm-monitor.sh CONTROLLER BUILD WORKER KEY [INTERVAL]
  KEY may be - (read from standard input); INTERVAL is in seconds, default 30"
}

# Sets ms from decimal seconds; fails if $1 is not a plain decimal number below 100,000.
to_ms() {
  case $1 in '' | *[!0-9.]* | *.*.* | .* | *. | 0[0-9]*) return 1 ;; esac
  case ${1%%.*} in ??????*) return 1 ;; esac
  ms=${1#"${1%%.*}"}
  ms=${ms#.}000
  ms=1${ms%"${ms#???}"}
  ms=$((${1%%.*} * 1000 + ms - 1000))
}

to_seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

at_most() { if [ "$1" -lt "$2" ]; then echo "$1"; else echo "$2"; fi; }

# --- arguments ------------------------------------------------------------------------------------

if [ $# -lt 4 ] || [ $# -gt 5 ]; then usage "expected 4 or 5 arguments, got $#"; fi

controller=$1
while [ "$controller" != "${controller%/}" ]; do controller=${controller%/}; done
case $controller in
  *[!][A-Za-z0-9:/._~%+=,-]*) usage 'CONTROLLER must be a plain address such as https://builds.example.com' ;;
  http://?* | https://?*) ;;
  *) usage 'CONTROLLER must begin with http:// or https://' ;;
esac

build=$2
case $build in '' | . | .. | *[!A-Za-z0-9._-]*) usage 'BUILD must consist of letters, digits, ".", "_" and "-"' ;; esac

worker=$3
case $worker in '' | *[!A-Za-z0-9._-]*) usage 'WORKER must consist of letters, digits, ".", "_" and "-"' ;; esac

interval=${5:-30}
to_ms "$interval" || usage "INTERVAL must be a number of seconds such as 30, got '$interval'"
interval_ms=$ms
if [ "$interval_ms" -lt 100 ] || [ "$interval_ms" -gt 86400000 ]; then
  usage "INTERVAL must be between 0.1 and 86400 seconds, got '$interval'"
fi

attempt=${TARTBEAT_ATTEMPT:-}
case $attempt in *[!0-9]* | 0* | ??????????*) usage "TARTBEAT_ATTEMPT must be a positive number, got '$attempt'" ;; esac

to_ms "${TARTBEAT_REFUSAL_SPAN:-60}" || usage 'TARTBEAT_REFUSAL_SPAN must be a number of seconds'
refusal_span_ms=$ms

command -v curl >/dev/null 2>&1 || die 69 'curl is not installed: brew install curl'

key=$4
if [ "$key" = - ]; then
  IFS= read -r key || :
  key=${key%"$(printf '\r')"}
fi
# The pattern refuses quotes, backslashes and line ends, because they would change curl's configuration.
case $key in
  '') usage 'KEY is empty' ;;
  *[!A-Za-z0-9._~+/=:@-]*) usage 'KEY contains a character that keys never have' ;;
esac
exec </dev/null

# The monitor repeats a failed beat after 5 s. A request ends before the next beat is due, and after 10 s at
# most. A request gets at least 1 s, which matters only with the short intervals of tests.
retry_ms=$(at_most "$interval_ms" 5000)
limit_ms=$(at_most $((interval_ms * 8 / 10)) 10000)
[ "$limit_ms" -ge 1000 ] || limit_ms=1000
if [ -n "${TARTBEAT_REQUEST_LIMIT:-}" ]; then
  to_ms "$TARTBEAT_REQUEST_LIMIT" || usage 'TARTBEAT_REQUEST_LIMIT must be a number of seconds'
  limit_ms=$ms
fi
interval_s=$(to_seconds "$interval_ms")
retry_s=$(to_seconds "$retry_ms")
limit_s=$(to_seconds "$limit_ms")
url="$controller/api/builds/$build/heartbeat?worker_id=$worker"

# --- state ----------------------------------------------------------------------------------------

state=${TARTBEAT_STATE:-${HOME:-}/.tartbeat/current}
progress_file=$state/progress
pid_file=$state/monitor.pid
# curl writes the answer into a FIFO and not into a file, because the monitor must also work on a full disk.
pipe=$state/monitor.$$.pipe
prepare_state() {
  [ -p "$pipe" ] || { mkdir -p "$state" && rm -f "$pipe" && mkfifo "$pipe" && printf '%s\n' $$ >"$pid_file"; }
}

# --- stopping -------------------------------------------------------------------------------------

request=
judge=
beat_timer=
retry_timer=
launching=
stopping=
poked=

# Kills children with SIGKILL, because a child that has just been forked could miss another signal.
# curl and sleep have nothing to clean up. The braces hide the line that bash 3.2 prints about a killed child.
reap() {
  [ $# -eq 0 ] || {
    kill -9 "$@"
    wait "$@"
  } 2>/dev/null
}

finish() { # CODE
  trap '' TERM INT HUP USR1
  # shellcheck disable=SC2086 # each is one process id or nothing
  reap $request $judge $beat_timer $retry_timer
  rm -f "$pipe"
  [ "$(cat "$pid_file" 2>/dev/null)" != $$ ] || rm -f "$pid_file"
  exit "$1"
}

# Stops the monitor. While send_beat starts children and saves their ids, it only notes the signal. send_beat
# then stops the monitor itself.
on_stop() {
  stopping=yes
  [ -n "$launching" ] || leave
}

leave() {
  say 'Stopping'
  finish 0
}

trap on_stop TERM INT HUP
# send_heartbeat sends USR1 to ask for a beat at once. The monitor ignores PIPE, so that it continues if the
# reader of its output ends.
trap 'poked=yes interrupted=yes' USR1
trap '' PIPE

# Waits for one child and returns its status. USR1 interrupts `wait`, so it waits again. The status alone does
# not show this, because it is above 128 also if a signal has ended the child.
await() {
  while :; do
    interrupted=
    wait "$1" 2>/dev/null
    awaited=$?
    [ $awaited -gt 128 ] && [ -n "$interrupted" ] || return $awaited
  done
}

# --- progress -------------------------------------------------------------------------------------

elapsed_ms=0
progress=0
origin='time'
phase=
written=

# Sets progress, origin and phase. It takes the percentage that send_heartbeat has written ("30 Archiving").
# Without one it estimates: 95 % * t / (t + 180 s), which is 0, 5, 9, 13 … every 10 s and half of 95 % after
# three minutes. The percentage never falls. It stays below 100, because only the controller knows that the
# build has ended. A file with any other content is ignored.
look_at_progress() {
  figure=
  if [ -f "$progress_file" ]; then
    note=$(head -c 512 "$progress_file" 2>/dev/null | tr '\000-\011\013-\037\177' ' ' | {
      IFS= read -r line && printf '%s' "$line"
    })
    figure=${note%% *}
    case $figure in
      [0-9] | [1-9][0-9] | 100) written=yes from='script' ;;
      *) figure= ;;
    esac
  fi
  if [ -n "$figure" ]; then
    phase=${note#"$figure"}
    phase=$(printf '%.120s' "${phase# }")
  elif [ -z "$written" ]; then
    figure=$((95 * elapsed_ms / (elapsed_ms + 180000))) from='time'
  fi
  [ "${figure:-0}" -le 99 ] || figure=99
  if [ "${figure:-0}" -ge "$progress" ] && [ -n "$figure" ]; then progress=$figure origin=$from; fi
}

# Sets `body`. A beat starts as few processes as it can, because each takes time from the build.
write_body() {
  body="{\"progress\":$progress,\"source\":\"vm\",\"origin\":\"$origin\""
  [ -z "$attempt" ] || body="$body,\"attempt\":$attempt"
  [ -z "$phase" ] || body="$body,\"phase\":\"$(printf '%s' "$phase" | sed 's/\\/\\\\/g; s/"/\\"/g')\""
  body="$body}"
}

# --- one beat -------------------------------------------------------------------------------------

readonly ACCEPTED=0 STOP=3 ENDED=4 REFUSED=5 FAILED=6 UNHEARD=7
readonly END_MARK='tartbeat-outcome:'

# Sets `compact` to a text without its blanks.
without_blanks() { # TEXT
  set -f
  IFS=' '
  # shellcheck disable=SC2086 # its words
  set -- $1
  IFS=
  compact="$*"
  unset IFS
  set +f
}

# Reads the output of curl, prints one line about the beat, and exits with one of the codes above. The output
# ends only if no process but curl has the writing end of the FIFO. So the judge closes its own with `exec`,
# because a shell keeps a copy of what it closes for one function.
judge_answer() {
  exec <&4 3>&- 4<&- 5>&-
  answer=$(tail -c 8192 | tr '\000-\037\177' ' ')
  outcome=${answer##*"$END_MARK"}
  # Without the mark, curl was killed or could not start. send_beat prints its exit code.
  [ "$outcome" != "$answer" ] || exit "$UNHEARD"
  body=${answer%"$END_MARK"*}
  without_blanks "$body"
  status=${outcome%% *}
  outcome=${outcome#* }
  curl_code=${outcome%% *}
  reason=${outcome#* }

  if [ "$status" = 000 ] || [ "${curl_code:-0}" != 0 ]; then
    say "Heartbeat failed (no answer from $controller): ${reason:-curl error ${curl_code:-unknown}}"
    exit "$FAILED"
  fi

  code=
  text=
  case $compact in
    *'"error":{'*'"code":"'*)
      code=${compact#*'"error":{'}
      code=${code#*'"code":"'}
      code=$(printf '%.60s' "${code%%\"*}")
      case $body in *'"message"'*) text=${body#*'"message"'} text=${text#*\"} text=$(printf '%.300s' "${text%%\"*}") ;; esac
      ;;
  esac

  case $status in
    200)
      case $compact in
        *'"action":"stop"'*)
          say 'Stopping: the controller told this monitor to stop'
          exit "$STOP"
          ;;
        *'"status":"ok"'* | *'"action":"continue"'*)
          say "Heartbeat sent (progress: $progress%)"
          exit "$ACCEPTED"
          ;;
      esac
      ;;
    409 | 410)
      say "Stopping: this attempt is over (HTTP $status${code:+ $code})${text:+: $text}"
      exit "$ENDED"
      ;;
  esac

  if [ -z "$code" ]; then
    say "Heartbeat refused (HTTP $status): the answer does not come from the controller"
    exit "$FAILED"
  fi
  say "Heartbeat refused (HTTP $status $code)${text:+: $text}"
  case $status in 401 | 403 | 404) exit "$REFUSED" ;; esac
  exit "$FAILED"
}

# Sends one beat and returns its outcome. It starts both timers first, so that a slow request does not delay
# the next beat. It opens both ends of the FIFO itself, because a child that opened one would wait forever if
# the build deleted the FIFO before the other child had opened the other. Descriptor 3 is both ends, so that
# no open waits. curl gets the key through a pipe from the builtin printf, so that the key is on no command
# line. A here-document would not do, because bash writes it to a file.
send_beat() {
  poked=
  launching=yes
  sleep "$interval_s" &
  beat_timer=$!
  sleep "$retry_s" &
  retry_timer=$!
  look_at_progress
  write_body
  # The build may have deleted the FIFO while it cleaned its home. If it does so just now, an opening makes a
  # file, from which the judge would read no answer. The next beat replaces the file.
  prepare_state
  # shellcheck disable=SC2094 # a FIFO is read and written at once
  {
    [ ! -f "$pipe" ] && {
      printf 'header = "X-API-Key: %s"\n' "$key" |
        curl -q --config - --silent --globoff --proto '=http,https' --connect-timeout "$limit_s" --max-time "$limit_s" \
          --max-filesize 65536 --header 'Content-Type: application/json' --data-raw "$body" \
          --write-out "\\n$END_MARK%{http_code} %{exitcode} %{errormsg}" "$url" >&5 2>/dev/null 3>&- 4<&- 5>&- &
      request=$!
      judge_answer &
      judge=$!
    }
  } 3<>"$pipe" 4<"$pipe" 5>"$pipe"
  opened=$?
  launching=
  [ -z "$stopping" ] || leave
  [ "$opened" -eq 0 ] || {
    say "Heartbeat failed: $pipe cannot be opened"
    return "$FAILED"
  }

  await "$judge"
  outcome=$?
  judge=
  await "$request"
  curl_code=$?
  request=
  case $outcome in
    "$ACCEPTED" | "$STOP" | "$ENDED" | "$REFUSED" | "$FAILED") return "$outcome" ;;
  esac
  say "Heartbeat failed (no answer from $controller): curl ended with code $curl_code"
  return "$FAILED"
}

# Waits until the next beat is due. After a USR1 it waits only until 5 s after the last beat, so that a build
# cannot cause more than one beat in 5 s. It waits for the shorter timer and does not kill it, because the
# timer may have ended and a process of the build may have its id now.
rest_after_beat() {
  await "$retry_timer"
  retry_timer=
  [ -n "$poked" ] || wait "$beat_timer" 2>/dev/null
  if [ -n "$poked" ]; then
    reap "$beat_timer"
    elapsed_ms=$((elapsed_ms + retry_ms))
  else
    elapsed_ms=$((elapsed_ms + interval_ms))
  fi
  beat_timer=
}

rest_before_repeat() {
  reap "$beat_timer"
  beat_timer=
  await "$retry_timer"
  retry_timer=
  elapsed_ms=$((elapsed_ms + retry_ms))
}

# --- the loop -------------------------------------------------------------------------------------

prepare_state || die 73 "cannot write into $state: set TARTBEAT_STATE to a folder that can be written"
# A monitor that was started by hand begins at 0 %. It deletes the progress of an earlier one.
[ -n "${TARTBEAT_STATE:-}" ] || rm -f "$progress_file"
say "Starting for build $build"
say "Sending heartbeats every ${interval}s to $controller"

refusals=0
refused_ms=0
while :; do
  send_beat
  outcome=$?
  case $outcome in
    "$ACCEPTED")
      refusals=0
      refused_ms=0
      rest_after_beat
      continue
      ;;
    "$STOP" | "$ENDED") finish "$outcome" ;;
    "$REFUSED") refusals=$((refusals + 1)) ;;
  esac
  # A captive portal or one bad deployment can also refuse. So the monitor stops only if the controller itself
  # refuses three times and for 60 s.
  if [ "$outcome" = "$REFUSED" ] && [ $refusals -ge 3 ] && [ $refused_ms -ge "$refusal_span_ms" ]; then
    say 'Stopping: the controller has refused every beat for too long; check the key, the build and the worker'
    finish "$REFUSED"
  fi
  rest_before_repeat
  [ $refusals -eq 0 ] || refused_ms=$((refused_ms + retry_ms))
done
