#!/bin/sh
# Ties the agent's key to vm-ssh-gate, so that it runs only the agent's commands. Or unties it, so that it
# runs any command.
#
#   TARTBEAT_KEY_USE   tied: tie the key to the gate   free: untie it   empty: only check and change nothing
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='What the key of the agent may run'
wanted=${TARTBEAT_KEY_USE:-}
fix="run: sudo sh ${here%/*}/provision.sh --only monitor --only restrict-key --restrict-key"
find_home
keys=$home/.ssh/authorized_keys
gate=$root/usr/local/bin/vm-ssh-gate
tied_options="restrict,command=\"$gate\""

# The agent's lines are the lines of TARTBEAT_KEY_FILE. Without that file they are the lines that the step
# authorised-key has written.
body=''
# shellcheck disable=SC2034 # the other two words of the line
[ -z "${TARTBEAT_KEY_FILE:-}" ] || read -r key_type body key_rest <"$TARTBEAT_KEY_FILE" || [ -n "$body" ]

# Prints the file with these options in the agent's lines. Without options it prints how many of these lines
# are free and how many are tied.
walk() { # [OPTIONS]
  OPTIONS=${1:-} GATE="command=\"$gate\"" awk -v body="$body" '
    /^[^#]*(ssh-|ecdsa-|sk-)/ && (body == "" ? / tartbeat$/ : index($0, body)) {
      if (index($0, ENVIRON["GATE"])) tied++; else free++
      if (ENVIRON["OPTIONS"] != "" && match($0, /(ssh-(ed25519|rsa)|ecdsa-sha2-[a-z0-9]+|sk-[a-z0-9@.-]+) AAAA/))
        $0 = ENVIRON["OPTIONS"] " " substr($0, RSTART)
    }
    ENVIRON["OPTIONS"] != "" { print }
    END { if (ENVIRON["OPTIONS"] == "") print free + 0, tied + 0 }' "$keys" 2>/dev/null
}

check() {
  counts=$(walk)
  free=${counts% *} tied=${counts#* }
  case $wanted in
    free | tied | '') ;;
    *) missing "TARTBEAT_KEY_USE must be tied or free, not '$wanted'" && return ;;
  esac
  if [ "${free:-0}" -eq 0 ] && [ "${tied:-0}" -eq 0 ]; then
    if [ -z "$wanted" ]; then found "$keys has no key of the agent"; else missing "$keys has no key of the agent"; fi
  elif [ "$tied" -gt 0 ] && [ ! -x "$gate" ]; then
    missing "the key is tied to $gate, which does not exist or is not executable: nobody can log in with the key"
  elif [ "$tied" -gt 0 ] && [ ! -r "$share/guest/table" ]; then
    missing "the key is tied to the guest scripts in $share/guest, which do not exist"
  elif [ "$wanted" = tied ] && [ "$free" -gt 0 ]; then
    missing 'the key may run any command'
  elif [ "$wanted" = free ] && [ "$tied" -gt 0 ]; then
    missing 'the key is tied to vm-ssh-gate'
  elif [ "$tied" -gt 0 ] && [ "$free" -eq 0 ]; then
    found 'the key is tied to vm-ssh-gate: it runs the commands of the agent and no others'
  else
    found 'the key may run any command (--restrict-key ties it to those of the agent)'
  fi
}

apply() {
  case $wanted in
    tied)
      options=$tied_options
      # Does not tie the key to a missing gate, because the agent could no longer log in.
      if [ ! -x "$gate" ] || [ ! -r "$share/guest/table" ]; then
        problem="$gate or $share/guest does not exist: run the step monitor first"
        return 1
      fi
      ;;
    free) options='no-port-forwarding,no-X11-forwarding,no-agent-forwarding' ;;
    *) return 1 ;;
  esac
  walk "$options" >"$keys.new" && attempt chown "$TARTBEAT_USER" "$keys.new" && attempt chmod 600 "$keys.new" &&
    attempt mv -f "$keys.new" "$keys"
}

step "$@"
