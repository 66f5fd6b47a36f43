# shellcheck shell=bash
# Has the functions that see what the account of the build does: its processes, their CPU time, and the bytes
# on the network. build.sh and evidence.sh source this file after lib.sh; it does nothing by itself.
#
# Invariant: the sum of the CPU time never falls. A process that has ended keeps what it was seen to use.
# shellcheck disable=SC2154 # `on_attempt` of lib.sh sets `state`

# Prints `PID PARENT GROUP COLUMN…` for each process of this account, and `whole` as the last line. It leaves
# out what the agent itself makes the VM do: the monitor, and every process below an SSH session. The build is
# not below one, because build.sh ends while the build runs on. The last column may contain blanks; it must be
# one that begins with the name of the program.
list_processes() { # COLUMNS
  LC_ALL=C ps -axww -o "pid=,ppid=,pgid=,uid=,$1" | awk \
    -v columns="$1" -v account="$(id -u)" -v monitor="$(cat "$state/monitor.pgid" 2>/dev/null)" '
    BEGIN { name = 4 + split(columns, ignored, ",") }
    {
      parent[$1] = $2
      group[$1] = $3
      owner[$1] = $4
      if ($name ~ /^(.*\/)?sshd[^\/]*$/) session[$1] = 1
      pid[++count] = $1
      sub(/^ *[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +/, "")
      rest[pid[count]] = $0
    }
    END {
      for (i = 1; i <= count; i++) {
        one = pid[i]
        if (owner[one] != account || group[one] == monitor) continue
        up = one
        for (steps = 0; up > 1 && !(up in session) && steps < 100; steps++) up = parent[up]
        if (!(up in session)) print one, parent[one], group[one], rest[one]
      }
      if (count) print "whole"
    }'
}

# Prints the bytes that all interfaces but loopback have received and sent, or nothing if it is not known.
# macOS has a line of each interface and further ones of its addresses, with the same figures. The line of the
# interface may lack its address, so the columns count from the right. Linux, where the tests run, has a file.
count_bytes() {
  LC_ALL=C netstat -ibn 2>/dev/null | awk '
    NR == 1 { for (i = 1; i <= NF; i++) { if ($i == "Ibytes") received = NF - i; if ($i == "Obytes") sent = NF - i } }
    NR > 1 && received && $3 ~ /^<Link#/ && $1 !~ /^lo/ { sum += $(NF - received) + $(NF - sent); seen = 1 }
    END { if (seen) printf "%.0f", sum; exit !seen }' && return
  [ ! -r /proc/net/dev ] || awk -F '[: ]+' '
    { sub(/^ +/, "") }
    NR > 2 && $1 !~ /^lo/ { sum += $2 + $10 }
    END { printf "%.0f", sum }' /proc/net/dev
}

# Adds up the CPU time of the account since the first call. A process counts with what it has used since the
# last call, and a new process with all that it has used. It fails if the system cannot tell, and then the sum
# stays for the next call. $state/usage keeps `SECONDS MILLISECONDS BYTES`,
# when this was, the sum, the bytes; and then `PID HUNDREDTHS` for each process. macOS prints the time as
# MINUTES:SECONDS.HUNDREDTHS, Linux as [DAYS-]HOURS:MINUTES:SECONDS.
take_usage() {
  if list_processes time=,ucomm= | awk -v kept="$state/usage" -v now="$(date +%s)" -v bytes="$(count_bytes)" '
    BEGIN {
      if ((getline line <kept) > 0) { split(line, words, " "); used = words[2] + 0 }
      while ((getline line <kept) > 0) { split(line, words, " "); before[words[1]] = words[2] + 0 }
    }
    $1 == "whole" { whole = 1; next }
    {
      shown = $4
      days = time = 0
      if (split(shown, parts, "-") == 2) { days = parts[1]; shown = parts[2] }
      count = split(shown, parts, ":")
      for (i = 1; i <= count; i++) time = time * 60 + parts[i]
      time = sprintf("%.0f", (days * 86400 + time) * 100) + 0
      grown = time - before[$1]
      used += (grown < 0 ? time : grown) * 10
      list = list $1 " " time "\n"
    }
    END {
      if (!whole) exit 1
      printf "%s %.0f %s\n%s", now, used, bytes, list
    }' >"$state/usage.$$"; then
    mv "$state/usage.$$" "$state/usage"
  else
    rm -f "$state/usage.$$"
    return 1
  fi
}

# Prints `sampled=SECONDS` since 1970, `cpu=MILLISECONDS` and `bytes=BYTES` (empty if not known); nothing if
# the system cannot tell. It looks again if the last look is at least so many seconds old. It never prints old
# figures instead of new ones, because the agent may take them for new.
show_usage() { # SECONDS
  sampled='' cpu='' bytes=''
  [ ! -f "$state/usage" ] || read -r sampled cpu bytes <"$state/usage"
  age=$(($(date +%s) - ${sampled:-0}))
  if [ -z "$sampled" ] || [ "$age" -ge "$1" ] || [ "$age" -lt 0 ]; then
    take_usage || return 0
    read -r sampled cpu bytes <"$state/usage"
  fi
  printf 'sampled=%s\ncpu=%s\nbytes=%s\n' "$sampled" "$cpu" "$bytes"
}
