#!/bin/sh
# Checks whether this VM is fit to be a base image and to run builds. It changes nothing.
#
#   verify.sh [--json] [--user NAME] [--only CHECK]… [--skip CHECK]… [--in-build]
#             [--disk-gb N] [--controller URL [--worker ID --key -]]
#
#   --json            prints one JSON object: {"ok":true,"macos":"26.6","checks":[…]}, and for each check
#                     {"id","title","status","detail","fix"};
#                     status is pass, fail or skipped; only a failed check has a fix, otherwise it is null
#   --user NAME       account that builds run as; default: the user who called sudo, or who runs this
#   --only, --skip    checks by id, such as xcode; may be repeated. A skipped check is reported as skipped.
#                     Without --skip these are the steps that the image leaves out; "--skip none": none
#   --disk-gb N       also checks that the disk has the size that was asked for
#   --controller URL  also checks that this VM reaches the controller
#   --worker ID       also checks that the key on standard input (--key -) belongs to this worker
#   --in-build        fails if no monitor runs
#
# Ends with 0 if every check passed, 1 if one failed, 64 on wrong arguments. Without root it skips the checks
# that need root. It runs the checks of provision/ in order, then the ones at the end of this file.
#
# Invariant: it reports one result for each check, for any behaviour of the check. A check that hangs has
# failed.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./provision/lib.sh"

readonly CHECK_LIMIT_S=120
readonly FREE_DISK_GB=15

usage() {
  printf 'verify.sh: %s\n' "$1" >&2
  sed -n '4s/^#   /usage: /p; 5s/^#   /       /p' "$0" >&2
  exit 64
}

# Sets `id` to the name of a check: that of its step with _ for each -.
name_check() { # STEP
  id=$1
  while :; do
    case $id in
      *-*) id=${id%%-*}_${id#*-} ;;
      *) return 0 ;;
    esac
  done
}

json='' only='' skip='' skip_given='' controller='' worker='' key='' in_build=''
while [ $# -gt 0 ]; do
  case $1 in
    --user | --only | --skip | --disk-gb | --controller | --worker | --key) [ -n "${2:-}" ] || usage "$1 needs a value" ;;
  esac
  case $1 in
    --json) json=yes ;;
    --in-build) in_build=yes ;;
    --user) TARTBEAT_USER=$2 && shift ;;
    --only) name_check "$2" && only="$only $id " && shift ;;
    --skip) name_check "$2" && skip_given=yes skip="$skip $id " && shift ;;
    --disk-gb)
      case $2 in *[!0-9]* | ??????*) usage "--disk-gb must be a whole number, not '$2'" ;; esac
      export TARTBEAT_DISK_GB="$2"
      shift
      ;;
    --controller) controller=${2%/} && shift ;;
    --worker) worker=$2 && shift ;;
    --key)
      [ "$2" = - ] || usage '--key must be -, because a key on the command line would show in ps. Give the key on standard input'
      IFS= read -r key || :
      shift
      ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done
if [ -z "$skip_given$only" ]; then
  for name in $(skipped_in_image); do name_check "$name" && skip="$skip $id "; done
fi
case $controller in
  '' | http://?* | https://?*) ;;
  *) usage '--controller must begin with http:// or https://' ;;
esac
case $worker in *[!A-Za-z0-9._-]*) usage '--worker must consist of letters, digits, ".", "_" and "-"' ;; esac
case $key in *[!A-Za-z0-9._~+/=:@-]*) usage '--key: it contains a character that no key has' ;; esac
if [ -n "$worker" ] && { [ -z "$controller" ] || [ -z "$key" ]; }; then
  usage '--worker needs --controller, and --key - with the key on standard input'
fi

if [ -n "$skip_given" ]; then why_skipped='as asked'; else why_skipped='this image leaves it out'; fi

find_caller
export TARTBEAT_CALLER="$caller"
answers=$(mktemp -d "${TMPDIR:-/tmp}/tartbeat.XXXXXX") || exit 1
trap '! begin_clean_up || rm -rf "$answers"' EXIT
trap 'on_signal 130' INT
trap 'on_signal 143' TERM HUP

# --- results --------------------------------------------------------------------------------------

failures=0
results=0

# Prints a field. Its text is in plain ASCII, because half of a UTF-8 character would break the JSON.
print_field() { # NAME TEXT
  text=$2
  case $text in
    *[!A-Za-z0-9\ .,:\;=/_+\(\)@~\'-]*) text=$(printf '%s' "$text" | tr '\000-\037\177' ' ' | tr '\200-\377' '?' | sed 's/\\/\\\\/g; s/"/\\"/g') ;;
  esac
  printf '"%s":"%s",' "$1" "$text"
}

report() { # ID TITLE STATUS DETAIL FIX
  results=$((results + 1))
  [ "$3" != fail ] || failures=$((failures + 1))
  if [ -n "$json" ]; then
    [ "$results" -eq 1 ] || printf ','
    printf '{'
    print_field title "$2"
    print_field detail "$4"
    if [ "$3" = fail ]; then print_field fix "$5"; else printf '"fix":null,'; fi
    printf '"id":"%s","status":"%s"}' "$1" "$3"
  else
    printf '%-8s %-19s %s\n' "$3" "$1" "$4"
    [ "$3" != fail ] || printf '%-28s %s\n' '' "$5"
  fi
}

# Succeeds if the check is not to run. Reports it as skipped if --skip names it.
is_left_out() { # ID
  case $only in *" $1 "* | '') ;; *) return 0 ;; esac
  case $skip in *" $1 "*) report "$1" "$1" skipped "$why_skipped" '' && return 0 ;; esac
  return 1
}

verify_step() { # FILE
  name_step "$1"
  name_check "$name"
  ! is_left_out "$id" || return 0
  within "$CHECK_LIMIT_S" sh "$1" --check </dev/null >"$answers/step" 2>/dev/null
  code=$?
  read_step "$answers/step"
  case $code in
    0) status=pass ;;
    3) status=skipped ;;
    124) status=fail detail="the check did not end within $CHECK_LIMIT_S s" ;;
    *) status=fail ;;
  esac
  report "$id" "${title:-$id}" "$status" "${detail:-the check ended with exit code $code and printed no result}" "${fix:-run: sudo sh $1}"
}

verify_here() { # ID TITLE FIX; calls the function check_ID
  ! is_left_out "$1" || return 0
  missing 'the check gave no result'
  "check_$1"
  case $outcome in
    ok) status=pass ;;
    unknown) status=skipped ;;
    *) status=fail ;;
  esac
  report "$1" "$2" "$status" "$detail" "$3"
}

# --- checks without a step in provision/ ----------------------------------------------------------

# Checks that pf lets a connection to port 22 in. The last rule that matches decides, or the first with
# "quick".
check_packet_filter() {
  if ! is_root; then
    unknown 'pfctl needs root to answer'
    return
  fi
  case $(pfctl -s info 2>/dev/null) in
    *'Status: Enabled'*) ;;
    *)
      found 'pf is off'
      return
      ;;
  esac
  blocking=$(pfctl -sr 2>/dev/null | awk '
    !/^(block|pass)/ || / out / || / on lo0 / { next }
    / proto / && !/ proto (tcp|\{[^}]*tcp[^}]*\}) / { next }
    / from / && !/ from any / { next }
    / port / && !/ port (= )?(22|ssh)( |$)/ { next }
    { rule = $0 }
    / quick / { exit }
    END { if (rule ~ /^block/) print rule }')
  if [ -n "$blocking" ]; then missing "pf blocks SSH: $blocking"; else found 'pf is on and lets SSH in'; fi
}

check_disk_space() {
  # The header has seven words, and the room of the first row is the fourth word after it.
  # shellcheck disable=SC2046
  set -- $(df -P -k / 2>/dev/null)
  free_kb=${11:-}
  case $free_kb in '' | *[!0-9]*) missing 'df printed no figures' && return ;; esac
  free_gb=$((free_kb * 1024 / 1000000000))
  if [ "$free_gb" -ge "$FREE_DISK_GB" ]; then found "$free_gb GB free"; else missing "$free_gb GB free, $FREE_DISK_GB GB needed"; fi
}

# Sends GET $controller$1 and sets http_status and body. curl reads the key from a pipe, so that no command
# line shows it.
ask_controller() { # PATH [KEY]
  answer=$({ [ -z "${2:-}" ] || printf 'header = "X-API-Key: %s"\n' "$2"; } |
    curl -q -sS --config - --globoff --proto '=http,https' --connect-timeout 5 --max-time 10 --max-filesize 65536 --write-out '\n%{http_code}' "$controller$1" 2>"$answers/curl")
  http_status=${answer##*
}
  body=$(printf '%s' "$answer" | tr -d ' \n\r')
  [ "${http_status:-000}" != 000 ] || {
    missing "$controller$1: $(one_line "$(head -c 300 "$answers/curl")")"
    return 1
  }
}

check_controller() {
  if [ -z "$controller" ]; then
    unknown 'no --controller given'
    return
  fi
  ask_controller /health || return
  case $http_status:$body in
    200:*'"status":"ok"'*) found "$controller" ;;
    200:*) missing "$controller/health was answered by something else than a controller" ;;
    *) missing "$controller/health answered $http_status" ;;
  esac
}

check_worker_key() {
  if [ -z "$worker" ]; then
    unknown 'no --worker given'
    return
  fi
  ask_controller /api/me "$key" || return
  case $http_status:$body in
    200:*'"workerId":"'"$worker"'"'*) found "the key is that of worker $worker" ;;
    200:*'"workerId":"'*) missing "the key belongs to another worker than $worker" ;;
    200:*) missing 'the key is not a key of a worker' ;;
    401:*) missing 'the controller does not know this key, or it was revoked' ;;
    *) missing "$controller/api/me answered $http_status" ;;
  esac
}

check_monitor_running() {
  monitors=$(ps -A -o pid= -o args= | awk '/\/vm-monitor\.sh / && !/awk/ { print $1 }')
  monitors=$(one_line "$monitors")
  if [ -n "$monitors" ]; then
    found "process $monitors"
  elif [ -n "$in_build" ]; then
    missing 'no monitor runs'
  else
    unknown 'no monitor runs; it runs only during a build'
  fi
}

# --- run ------------------------------------------------------------------------------------------

macos=$(sw_vers -productVersion 2>/dev/null)
if [ -n "$json" ]; then printf '{' && print_field macos "${macos:-unknown}" && printf '"checks":['; else printf 'macOS %s\n' "${macos:-unknown}"; fi
for file in "$here"/provision/[0-9]*.sh; do verify_step "$file"; done
verify_here packet_filter 'The packet filter lets SSH in' 'remove the rule from /etc/pf.conf, then: sudo pfctl -f /etc/pf.conf'
verify_here disk_space 'There is room for a build' 'free space, or enlarge the disk on the Mac: expo-worker base-image --disk-gb GB --force'
verify_here controller 'The controller is reachable from here' "run in the VM: curl -v ${controller:-URL}/health"
verify_here worker_key 'Key and worker belong together' 'put the key of this worker into the config of the agent'
verify_here monitor_running 'The monitor runs' 'read monitor.log in ~/.tartbeat/BUILD-ATTEMPT'
if [ -n "$json" ]; then
  if [ "$failures" -eq 0 ]; then printf '],"ok":true}\n'; else printf '],"ok":false}\n'; fi
elif [ "$failures" -eq 0 ]; then
  printf 'This VM is fit.\n'
else
  printf '%s check(s) failed\n' "$failures"
fi
[ "$failures" -eq 0 ]
