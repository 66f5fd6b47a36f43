#!/bin/sh
# Lets the agent's key log in, and gives the files of the key the owner and modes that sshd wants.
# The line of the key must have no `command=`, except vm-ssh-gate, which runs the agent's commands. The step
# restrict-key sets it.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='The key of the agent may log in'
fix="run: sudo sh ${here%/*}/provision.sh --only authorised-key --key-file KEY.pub"
find_home
keys=$home/.ssh/authorized_keys
key_file=${TARTBEAT_KEY_FILE:-}

# Sets key_type and key_body from the line of the public key.
read_key() {
  key_type='' key_body='' key_rest=''
  if ! read -r key_type key_body key_rest <"$key_file" 2>/dev/null && [ -z "$key_body" ]; then
    problem="$key_file cannot be read, or is empty"
    return 1
  fi
  case $key_type:$key_body:$key_rest in
    -----BEGIN*) problem="$key_file is a private key; give the file that ends in .pub" && return 1 ;;
    ssh-ed25519:AAAA*:* | ssh-rsa:AAAA*:* | ecdsa-sha2-*:AAAA*:* | sk-*:AAAA*:*) ;;
    *) problem="$key_file does not begin like a public key (ssh-ed25519 AAAA…)" && return 1 ;;
  esac
  case $key_type$key_body in *[!A-Za-z0-9+/=@.-]*) problem="$key_file contains characters that keys never have" && return 1 ;; esac
}

# Prints how many lines of a key let it run the agent's commands. Without a key it counts such lines of all.
count_usable() { # [BODY]
  awk -v body="${1:-}" '
    /^[^#]*(ssh-|ecdsa-|sk-)/ && (!/command=/ || /command="[^"]*\/usr\/local\/bin\/vm-ssh-gate"/) && (body == "" || index($0, body)) { count++ }
    END { print count + 0 }' \
    "$keys" 2>/dev/null
}

# Succeeds if its group or others may write to a folder.
is_open_to_others() { [ -n "$(find "$1" -prune \( -perm -020 -o -perm -002 \) -print 2>/dev/null)" ]; } # FOLDER

# Prints the lines of keys of other agents. An image that another Mac has made may have them, and an earlier
# key of this Mac would stay.
other_lines() { awk -v body="$key_body" '/ tartbeat$/ && !index($0, body)' "$keys" 2>/dev/null; }

check() {
  if [ -z "$home" ]; then
    missing "there is no account '$TARTBEAT_USER'"
    return
  fi
  if [ -n "$key_file" ] && ! read_key; then
    missing "$problem"
    return
  fi
  lines=$(count_usable "${key_body:-}")
  if [ ! -f "$keys" ]; then
    missing "there is no $keys"
  elif is_open_to_others "$home"; then
    missing "others may write to $home, so sshd ignores its keys"
  elif ! has_mode 700 "$home/.ssh"; then
    missing "the mode of $home/.ssh is not 700"
  elif ! has_mode 600 "$keys"; then
    missing "the mode of $keys is not 600"
  elif ! owned_by "$TARTBEAT_USER" "$keys" || ! owned_by "$TARTBEAT_USER" "$home/.ssh"; then
    missing "$keys does not belong to $TARTBEAT_USER"
  elif [ "${lines:-0}" -eq 0 ]; then
    missing "$keys does not hold ${key_file:+the key of }${key_file:-a key}, or ties it to another command than vm-ssh-gate"
  elif [ -n "$key_file" ] && [ -n "$(other_lines)" ]; then
    missing "$keys also holds the key of another agent"
  elif [ -n "$key_file" ]; then
    found "$keys holds the key; mode 600, folder 700"
  else
    found "$keys holds $lines key(s); mode 600, folder 700"
  fi
}

apply() {
  [ -n "$home" ] || return
  if [ -n "$key_file" ]; then read_key || return; fi
  lines=$(count_usable)
  if [ -z "$key_file" ] && [ "${lines:-0}" -eq 0 ]; then
    problem='there is no key to add: give --key-file KEY.pub'
    return 1
  fi
  if is_open_to_others "$home"; then attempt chmod go-w "$home" || return; fi
  if [ -d "$home/.ssh" ]; then attempt chown -R "$TARTBEAT_USER" "$home/.ssh" || return; fi
  attempt as_user mkdir -p "$home/.ssh" && attempt as_user chmod 700 "$home/.ssh" &&
    attempt as_user touch "$keys" && attempt as_user chmod 600 "$keys" || return
  [ -n "$key_file" ] || return 0
  # Removes an older line of this key, because it may have a `command=`, and the keys of other agents.
  # Forwarding is off, because it would let a build reach the Mac.
  line="no-port-forwarding,no-X11-forwarding,no-agent-forwarding $key_type $key_body tartbeat"
  # shellcheck disable=SC2016 # for the inner shell
  attempt as_user sh -c '
    umask 077
    { grep -vF -- "$2" "$1" | grep -v " tartbeat\$" || :; printf "%s\n" "$3"; } >"$1.new" && mv -f "$1.new" "$1"' sh "$keys" "$key_body" "$line"
}

step "$@"
