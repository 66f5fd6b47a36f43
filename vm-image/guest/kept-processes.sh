# shellcheck shell=bash
# Has the functions that end every process of a build. kept.sh sources this file after activity.sh and
# expo-leftovers.sh; it does nothing by itself.
#
# shellcheck disable=SC2154 # lib.sh sets `root` and `state`

# For so many looks, 0.2 s apart.
readonly looks_at_processes=50

# Prints the seconds since the build was started, or nothing.
age_of_build() {
  began=$(date -r "$state/started" +%s 2>/dev/null) && echo $(($(date +%s) - began))
}

# Prints the ids of the build's processes: those of its group, those with its environment, and in a real VM
# all that the account has started since the build began, because a process can leave its group and clear its
# environment. macOS starts some programs of its own again when they are needed. What the agent runs is below
# SSH, and list_processes leaves it out. Fails if the system cannot tell. The simulator shares its processes
# with the machine that it runs on, so there the last rule does not count.
list_processes_of_build() {
  { list_marked | sed 's/^/marked /' && list_processes etime=,ucomm= && LC_ALL=C ps -axo pid=,pgid=,stat= | sed 's/^/all /'; } |
    awk -v age="$([ -n "$root" ] || age_of_build)" -v group="$(cat "$state/build.pgid" 2>/dev/null)" -v self=$$ '
    $1 == "marked" { marked[$2] = 1; next }
    $1 == "whole" { whole = 1; next }
    $1 == "all" {
      alive[$2] = $4 !~ /^Z/
      if (group != "" && $3 == group) ofBuild[$2] = 1
      next
    }
    {
      shown = $4
      days = time = 0
      if (split(shown, parts, "-") == 2) { days = parts[1]; shown = parts[2] }
      count = split(shown, parts, ":")
      for (i = 1; i <= count; i++) time = time * 60 + parts[i]
      if (age != "" && days * 86400 + time <= age + 1) ofBuild[$1] = 1
      if ($1 in marked) ofBuild[$1] = 1
    }
    END {
      for (one in ofBuild) if (alive[one] && one != self) print one
      exit !whole
    }'
}

# Ends with 0 once two looks have found none. Otherwise prints why not. A process of another account, such as
# one that sudo has started, needs sudo.
end_processes_of_build() {
  looks=0 empty=0
  while [ "$looks" -lt "$looks_at_processes" ]; do
    looks=$((looks + 1))
    left=$(list_processes_of_build) || { echo 'the processes of the VM cannot be listed' && return 1; }
    if [ -z "$left" ]; then
      empty=$((empty + 1))
      [ "$empty" -lt 2 ] || return 0
      continue
    fi
    empty=0
    # shellcheck disable=SC2086 # a list
    kill -KILL $left 2>/dev/null || sudo -n kill -KILL $left 2>/dev/null
    sleep 0.2
  done
  # shellcheck disable=SC2086
  echo "processes of the build come again or cannot be ended: $(ps -o ucomm= -p "$(echo $left | tr ' ' ,)" | head -5 | tr '\n' ' ')"
  return 1
}
