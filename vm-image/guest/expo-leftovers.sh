# shellcheck shell=bash
# Has the functions that end the processes of an Expo build and remove what it leaves behind. expo.sh sources
# this file after lib.sh; it does nothing by itself.
#
# Invariant: only files of this build are removed. A profile or log that was there before stays.
# shellcheck disable=SC2154 # expo.sh sets `state`

# Everything of an Expo build that is not the source. `began` is a file that is older than all of it.
expo_home=$HOME/.tartbeat/expo
# shellcheck disable=SC2034 # read by the other parts
engine_work=$expo_home/work
# shellcheck disable=SC2034
engine_tmp=$expo_home/tmp
# shellcheck disable=SC2034
project_archive=$expo_home/project.tar.gz

# build.sh sends KILL 5 s after TERM, and the files must be removed before.
readonly end_within_s=2

# Prints the ids of the processes that were started with the build's environment. A daemon of Gradle has left
# the process group of the build, but it has the environment. macOS has no /proc, and its ps shows the
# environment after the command.
list_marked() {
  if [ -r /proc/self/environ ]; then
    grep -lszxF -- "TARTBEAT_STATE=$state" /proc/[0-9]*/environ | tr -cd '0-9\n'
  else
    LC_ALL=C ps -axwwE -o pid=,command= | awk -v mark=" TARTBEAT_STATE=$state " 'index($0 " ", mark) { print $1 }'
  fi
}

# Prints the ids of the build's processes, but for this script, its parent and the monitor.
list_build() {
  { list_marked | sed 's/^/marked /'; LC_ALL=C ps -axo pid=,pgid=,stat=; } | awk \
    -v group="$(cat "$state/build.pgid" 2>/dev/null)" -v self=$$ -v parent=$PPID \
    -v monitor="$(cat "$state/monitor.pgid" 2>/dev/null)" '
    $1 == "marked" { marked[$2] = 1; next }
    $3 !~ /^Z/ && $1 != self && $1 != parent && $2 != monitor && ($2 == group || $1 in marked) { print $1 }'
}

# Sends TERM, and KILL to what still lives after 2 s. A process counts if it is in two lists, one after the
# other, because each list has the programs that make it.
end_processes() {
  local before now left since=$SECONDS
  before=$(list_build)
  # shellcheck disable=SC2086 # a list
  [ -z "$before" ] || kill -TERM $before 2>/dev/null
  while :; do
    now=$(list_build)
    left=$(printf '%s\n' "$before" "$now" | sort | uniq -d)
    [ -n "$left" ] || return 0
    # shellcheck disable=SC2086
    [ $((SECONDS - since)) -lt "$end_within_s" ] || kill -KILL $left 2>/dev/null
    [ $((SECONDS - since)) -le $((end_within_s + 1)) ] || return 0
    before=$now
    sleep 0.1
  done
}

# Removes the keychain that the engine made from the list of keychains too. The real program does that.
remove_keychains() {
  local keychain
  for keychain in "$engine_tmp"/eas-build-*.keychain*; do
    [ ! -e "$keychain" ] || [ "$(uname -s)" != Darwin ] || /usr/bin/security delete-keychain "$keychain" >/dev/null 2>&1
  done
}

# Xcode 16 copies the profiles that it uses to a second folder. The logs of Xcode hold the environment.
remove_installed() {
  local library=$HOME/Library
  [ -f "$expo_home/began" ] || return 0
  find "$library/MobileDevice/Provisioning Profiles" "$library/Developer/Xcode/UserData/Provisioning Profiles" \
    "$library/Logs/gym" -type f -newer "$expo_home/began" -exec rm -f {} + 2>/dev/null
}

# Whether a file system is mounted at the folder. `df` ends its line with the place where it is mounted, which
# may have spaces, as may the first column.
is_mount_point() { # FOLDER
  local place line
  place=$(cd -P "$1" 2>/dev/null && pwd -P) && line=$(LC_ALL=C df -P "$1" 2>/dev/null | sed -n 2p) || return 1
  case $line in *" $place") return 0 ;; esac
  return 1
}

# Removes the small files first, because TERM leaves little time and node_modules needs much of it.
remove_leftovers() {
  remove_keychains
  rm -rf "$engine_tmp" "$project_archive"
  remove_installed
  if [ -d "$engine_work" ] && [ ! -L "$engine_work" ] && ! is_mount_point "$engine_work"; then
    find "$engine_work" \( -name node_modules -o -name Pods \) -prune -o ! -type d -exec rm -f {} + 2>/dev/null
  fi
  ! declare -F remove_private_access >/dev/null || remove_private_access
  ! declare -F remove_eas_leftovers >/dev/null || remove_eas_leftovers
  if [ ! -L "$engine_work" ] && ! is_mount_point "$engine_work"; then rm -rf "$engine_work"; fi
  # The last three are there if TERM came while the artifacts were collected.
  rm -rf "${expo_home:?}/bin" "$expo_home/set-env" "$expo_home/began" "$expo_home/signing.log" "$expo_home/source" \
    "$expo_home/unpacked" "$expo_home/xcode-logs"
}
