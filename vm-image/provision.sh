#!/bin/sh
# Makes the VM that it runs in ready for builds. Runs each step of provision/ in order, then verify.sh.
#
#   sudo sh provision.sh [--user NAME] [--key-file KEY.pub] [--restrict-key | --free-key]
#                        [--packet-filter ADDRESSES] [--ca FILE]… [--xcode-file FILE.xip] [--disk-gb N]
#                        [--base-digest DIGEST] [--only STEP]… [--skip STEP]…
#   sh provision.sh --check [the same]
#
#   --user NAME       account that builds run as; default: the user who called sudo
#   --key-file FILE   public key of the agent; the step authorised-key lets it log in
#   --restrict-key    tie that key to vm-ssh-gate: it runs the commands of the agent and no others
#   --free-key        untie it again; without either option the key stays as it is
#   --packet-filter ADDRESS[,ADDRESS]   block private networks for builds, except these addresses of the
#                     controller; "off" turns the filter off again
#   --ca FILE         certificate authorities of your own, in PEM form, for the system and for builds
#   --xcode-file FILE.xip   Xcode, downloaded from developer.apple.com
#   --disk-gb N       the size that the disk of this VM should have; without it, the size that it has
#   --base-digest     digest of the image that this VM was cloned from, for the step image
#   --only, --skip    steps by name, as --list prints them; may be repeated. Without --skip the steps are left
#                     out that the image says it leaves out; "--skip none" leaves out nothing
#   --check           only check and change nothing; a few steps need root for this
#   --list            print the names of the steps
#
# Ends with 0 when every step holds, 1 at the first step that failed (with --check: after all), 64 on wrong
# arguments, 77 without root.
#
# Invariant: a second run changes nothing. It can be run again at any time and after any failure.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./provision/lib.sh"

readonly CHECK_LIMIT_S=120
# Long enough to download the command line tools over a slow line.
readonly STEP_LIMIT_S=3600

usage() {
  printf 'provision.sh: %s\n' "$1" >&2
  sed -n '4s/^#   /usage: /p; 5s/^#   /       /p; 6s/^#   /       /p; 7s/^#   /usage: /p' "$0" >&2
  exit 64
}

check_only='' only='' skip='' skip_given='' cas=''
while [ $# -gt 0 ]; do
  case $1 in
    --user | --key-file | --packet-filter | --ca | --xcode-file | --disk-gb | --base-digest | --only | --skip) [ -n "${2:-}" ] || usage "$1 needs a value" ;;
  esac
  case $1 in
    --check) check_only=yes ;;
    --user) TARTBEAT_USER=$2 && shift ;;
    --key-file) TARTBEAT_KEY_FILE=$2 && shift ;;
    --restrict-key) TARTBEAT_KEY_USE=tied ;;
    --free-key) TARTBEAT_KEY_USE=free ;;
    --packet-filter) TARTBEAT_PACKET_FILTER=$2 && shift ;;
    --ca)
      cas="$cas$2
" && shift
      ;;
    --xcode-file) TARTBEAT_XCODE_FILE=$2 && shift ;;
    --disk-gb) TARTBEAT_DISK_GB=$2 && shift ;;
    --base-digest) TARTBEAT_BASE_DIGEST=$2 && shift ;;
    --only) only="$only $2 " && shift ;;
    --skip)
      skip_given=yes
      [ "$2" = none ] || skip="$skip $2 "
      shift
      ;;
    --list)
      for file in "$here"/provision/[0-9]*.sh; do name_step "$file" && printf '%s\n' "$name"; done
      exit
      ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done
case $TARTBEAT_USER in
  '' | *[!A-Za-z0-9_.-]*) usage "--user must be a plain account name, not '$TARTBEAT_USER'" ;;
  root) usage 'builds do not run as root: name their account with --user' ;;
esac
names=' '
for file in "$here"/provision/[0-9]*.sh; do name_step "$file" && names="$names$name "; done
for name in $only $skip; do
  case $names in *" $name "*) ;; *) usage "there is no step '$name'; the steps are:${names% }" ;; esac
done
if [ -z "$skip_given$only" ]; then
  for name in $(skipped_in_image); do
    case $name${TARTBEAT_XCODE_FILE:+/} in xcode/ | xcode-download/) continue ;; esac
    case $names in *" $name "*) skip="$skip $name " ;; esac
  done
fi
if [ -n "${TARTBEAT_KEY_FILE:-}" ]; then
  case $TARTBEAT_KEY_FILE in /*) ;; *) TARTBEAT_KEY_FILE=$PWD/$TARTBEAT_KEY_FILE ;; esac
  [ -r "$TARTBEAT_KEY_FILE" ] || usage "--key-file: $TARTBEAT_KEY_FILE cannot be read"
  export TARTBEAT_KEY_FILE
fi
export TARTBEAT_KEY_USE="${TARTBEAT_KEY_USE:-}" TARTBEAT_PACKET_FILTER="${TARTBEAT_PACKET_FILTER:-}"
export TARTBEAT_BASE_DIGEST="${TARTBEAT_BASE_DIGEST:-}"
[ -n "$only" ] || export TARTBEAT_SKIPPED="$skip"
case ${TARTBEAT_DISK_GB:-} in *[!0-9]* | ??????*) usage "--disk-gb must be a whole number, not '$TARTBEAT_DISK_GB'" ;; esac
case ${TARTBEAT_XCODE_FILE:-} in
  '') ;;
  /*.xip) [ -r "$TARTBEAT_XCODE_FILE" ] || usage "--xcode-file: $TARTBEAT_XCODE_FILE cannot be read" ;;
  *) usage "--xcode-file must be the whole path of an Xcode*.xip, not '$TARTBEAT_XCODE_FILE'" ;;
esac
export TARTBEAT_DISK_GB="${TARTBEAT_DISK_GB:-}" TARTBEAT_XCODE_FILE="${TARTBEAT_XCODE_FILE:-}"
if [ -z "$check_only" ] && ! is_root; then
  printf 'provision.sh: this changes the system and needs root; run: sudo sh %s\n' "$0" >&2
  exit 77
fi

find_caller
export TARTBEAT_CALLER="$caller"
answers=$(mktemp -d "${TMPDIR:-/tmp}/tartbeat.XXXXXX") || exit 1
trap '! begin_clean_up || rm -rf "$answers"' EXIT
trap 'on_signal 130' INT
trap 'on_signal 143' TERM HUP

if [ -n "$cas" ]; then
  split_authorities "$answers/authorities" "$cas" || usage "--ca: ${problem:-a file could not be split}"
  export TARTBEAT_AUTHORITIES="$answers/authorities"
fi

run_step() { # FILE LIMIT [--check]
  limit=$2
  file=$1
  shift 2
  within "$limit" sh "$file" "$@" </dev/null >"$answers/step"
  code=$?
  read_step "$answers/step"
  [ "$code" -ne 124 ] || { outcome=failed detail="the step did not end within $limit s"; }
  [ -n "$outcome" ] || { outcome=failed detail="the step ended with exit code $code and printed no result"; }
}

changed=0 failed=0
if [ -n "$skip_given" ]; then why_skipped='as asked'; else why_skipped='as this image says'; fi
# The steps print the output of brew, npm and other tools to standard error.
for file in "$here"/provision/[0-9]*.sh; do
  name_step "$file"
  case $only in *" $name "* | '') ;; *) continue ;; esac
  case $skip in
    *" $name "*)
      printf '%-8s %-19s %s\n' skipped "$name" "$why_skipped"
      continue
      ;;
  esac
  if [ -n "$check_only" ]; then run_step "$file" "$CHECK_LIMIT_S" --check; else run_step "$file" "$STEP_LIMIT_S"; fi
  printf '%-8s %-19s %s\n' "$outcome" "$name" "$detail"
  case $outcome in
    ok | unknown) ;;
    changed) changed=$((changed + 1)) ;;
    *)
      failed=$((failed + 1))
      [ -z "$fix" ] || printf '%-28s %s\n' '' "$fix"
      # Later steps may need this one.
      [ -n "$check_only" ] || break
      ;;
  esac
done

if [ "$failed" -gt 0 ]; then
  [ -n "$check_only" ] || printf 'provision.sh: stopped at this step. Follow its advice, then run it again. Finished steps are not repeated\n' >&2
  exit 1
fi
[ -z "$check_only" ] || exit 0
printf '%s step(s) changed\n' "$changed"
[ -z "$only" ] || exit 0
set --
for name in $skip; do set -- "$@" --skip "$name"; done
sh "$here/verify.sh" --user "$TARTBEAT_USER" "$@"
