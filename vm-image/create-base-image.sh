#!/bin/sh
# Makes the base image VM-base-snapshot on a Mac. The agent clones a VM from it for each attempt.
#
#   create-base-image.sh VM [options]
#
#   --from IMAGE       from what VM is cloned if it does not exist: a name of public-images, a local VM, or
#                      an image in a registry, best REPOSITORY@sha256:DIGEST (default: the first of
#                      public-images)
#   --snapshot NAME    name of the snapshot (default: VM-base-snapshot)
#   --user NAME        account in the VM (default: admin)
#   --key FILE         private key of the agent, with FILE.pub beside it (default: ~/.ssh/tart_vm_key)
#   --cpus N  --memory-gb N  --disk-gb N     hardware of VM; the disk can only grow (default: as it is, or 140
#                      with --xcode)
#   --xcode FILE.xip   install Xcode from this file of yours, for those who may not use the images of others
#                      (then the default of --from is the first of public-images without Xcode)
#   --ca FILE          certificate authorities of your own in PEM form, for the system and for builds; may be
#                      repeated
#   --restrict-key     at the end, tie the key to vm-ssh-gate: it runs the commands of the agent and no others
#   --packet-filter ADDRESS[,ADDRESS]   block private networks for builds, except these addresses of the
#                      controller
#   --for-publication  make a snapshot that other Macs may take: without keys, host keys and addresses of this
#                      one. VM loses them too; make its own snapshot anew afterwards, or before
#   --skip STEP        leave out a step of provision.sh, such as xcode; may be repeated. Without it
#                      the steps that the image itself says it leaves out; "--skip none" leaves out nothing
#   --controller URL   also check that the VM reaches the controller
#   --wait SECONDS     longest wait for the address, for SSH and for the shutdown, each (default: 300)
#   --ssh-port N       default 22
#   --drop-pulled      delete the pulled image once VM is cloned from it, for Macs of 256 GB
#   --result FILE      write snapshot=, digest=, provisioned= and from= into FILE at the end
#   --force            replace an existing snapshot, after everything else has succeeded
#
# Environment
#   TARTBEAT_VM_PASSWORD   password of the account, needed until the key is in the VM (default: admin)
#   TARTBEAT_TART          path or name of the tart program (default: tart)
#
# Steps: clone VM, boot it, wait for its address and for SSH, provision, verify with the key, shut down, clone
# the snapshot. On a failure and on Ctrl-C the script shuts the VM down and keeps its disk. A second run
# continues from there.
#
# A tag in --from is asked for once: the script prints its digest, and clones from the digest. The VM holds
# what it was made of in /usr/local/share/tartbeat/image: digest= is that of the public image, and
# provisioned= is a hash of all that was put on top. Two Macs with the same pair have the same image.
#
# Ends with 0 when the snapshot exists, 1 when a step failed, 64 on wrong arguments, 75 while another run
# makes the same VM, 130 after Ctrl-C.
#
# Invariant: every wait has a limit. The script replaces a snapshot only with --force. It clones the snapshot
# only from a VM that has passed verify.sh and then shut down by itself.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./provision/lib.sh"

# Limits of the steps. To pull 60 GB over a slow line takes up to four hours.
readonly PULL_LIMIT_S=14400 CLONE_LIMIT_S=900 TART_LIMIT_S=60
# `tart list` fails for a moment while another process deletes a VM.
readonly LIST_TRIES=4
# A file of 3 GB over a virtual network; xip takes half an hour at most.
readonly XCODE_LIMIT_S=3600
# xip needs the file, and as much again several times over; a build needs room too.
readonly XCODE_TIMES=6 XCODE_DISK_GB=140 FREE_GB=15
readonly COPY_LIMIT_S=300 PROVISION_LIMIT_S=10800 VERIFY_LIMIT_S=1800

tart=${TARTBEAT_TART:-tart}
failed=1
tart_home=${TART_HOME:-$HOME/.tart}
# Otherwise Tart deletes pulled images at a clone, to make room.
export TART_NO_AUTO_PRUNE=1
export TARTBEAT_VM_PASSWORD="${TARTBEAT_VM_PASSWORD:-admin}"

usage() {
  printf 'create-base-image.sh: %s\nusage: create-base-image.sh VM [options]; the first lines of the script list them\n' "$1" >&2
  exit 64
}

say() { printf '==> %s\n' "$*"; }

fail() { # MESSAGE [ADVICE]
  printf 'create-base-image.sh: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf '    %s\n' "$2" >&2
  exit "$failed"
}

# Prints a command from the table of those that install something.
installation() { # NAME
  sed -n "s/^$1	//p" "$here/installation"
}

# --- arguments ------------------------------------------------------------------------------------

vm='' from='' snapshot='' result='' drop_pulled='' cas='' xcode='' publication='' user=admin key=$HOME/.ssh/tart_vm_key port=22 wait_s=300
cpus='' memory_gb='' disk_gb='' skip='' controller='' restrict='' filter='' force=''
while [ $# -gt 0 ]; do
  case $1 in
    --force | --restrict-key | --drop-pulled | --for-publication) ;;
    --?*) [ -n "${2:-}" ] || usage "$1 needs a value, or is not an option" ;;
  esac
  case $1 in
    --cpus | --memory-gb | --disk-gb | --wait | --ssh-port)
      case $2 in *[!0-9]* | 0* | ??????*) usage "$1 must be a whole number, not '$2'" ;; esac
      ;;
  esac
  case $1 in
    --force) force=yes ;;
    --restrict-key) restrict=yes ;;
    --packet-filter) filter=$2 && shift ;;
    --from) from=$2 && shift ;;
    --snapshot) snapshot=$2 && shift ;;
    --drop-pulled) drop_pulled=yes ;;
    --for-publication) publication=yes ;;
    --xcode) xcode=$2 && shift ;;
    --ca)
      cas="$cas$2
" && shift
      ;;
    --result) result=$2 && shift ;;
    --user) user=$2 && shift ;;
    --key) key=$2 && shift ;;
    --cpus) cpus=$2 && shift ;;
    --memory-gb) memory_gb=$2 && shift ;;
    --disk-gb) disk_gb=$2 && shift ;;
    --skip) skip="$skip $2" && shift ;;
    --controller) controller=$2 && shift ;;
    --wait) wait_s=$2 && shift ;;
    --ssh-port) port=$2 && shift ;;
    -*) usage "unknown option '$1'" ;;
    *)
      [ -z "$vm" ] || usage "give one VM, not '$vm' and '$1'"
      vm=$1
      ;;
  esac
  shift
done
case $vm in
  '') usage 'VM is missing: give the vmName of the config of the agent' ;;
  *[!A-Za-z0-9._-]* | [!A-Za-z0-9]*) usage "VM must consist of letters, digits, '.', '_' and '-', not '$vm'" ;;
  *-base-snapshot) usage "give the VM without -base-snapshot: ${vm%-base-snapshot}" ;;
esac
case $user in '' | *[!A-Za-z0-9_.-]* | root | -*) usage "--user must be a plain account name, not '$user'" ;; esac
case $from in -* | *[!A-Za-z0-9._:/@-]*) usage "--from must be the name of a VM or of an image, not '$from'" ;; esac
case $skip in *[!a-z\ -]*) usage "--skip takes names of steps, not '$skip'" ;; esac
case $filter in off) ;; *[!0-9A-Fa-f:.,]*) usage "--packet-filter takes addresses with commas between them, not '$filter'" ;; esac
case $controller in '' | http://?* | https://?*) ;; *) usage '--controller must begin with http:// or https://' ;; esac
case $controller in *[!A-Za-z0-9:/._~%-]*) usage '--controller must be a plain address' ;; esac
if [ -n "$publication" ]; then
  case $snapshot in '' | "$vm-base-snapshot") usage '--for-publication needs --snapshot NAME, because the agent of this Mac cannot log in to that snapshot' ;; esac
fi
case $snapshot in
  '') snapshot=$vm-base-snapshot ;;
  "$vm") usage '--snapshot must have another name than VM' ;;
  *[!A-Za-z0-9._-]* | [!A-Za-z0-9]*) usage "--snapshot must consist of letters, digits, '.', '_' and '-', not '$snapshot'" ;;
esac
[ -z "$publication" ] || [ -z "$restrict" ] || usage '--for-publication takes the key out of the image, so --restrict-key has nothing to tie'
case $xcode in
  '') ;;
  *.xip)
    [ -r "$xcode" ] || usage "--xcode: $xcode cannot be read"
    [ "$(head -c 4 "$xcode")" = 'xar!' ] || usage "--xcode: $xcode is no xip archive: is the download complete?"
    case " $skip " in *' xcode '* | *' xcode-download '*) usage '--xcode and --skip xcode contradict each other' ;; esac
    ;;
  *) usage "--xcode must be an Xcode*.xip of developer.apple.com, not '$xcode'" ;;
esac
case $result in '') ;; */*) [ -d "${result%/*}" ] || usage "--result: there is no folder ${result%/*}" ;; esac

# --- tart -----------------------------------------------------------------------------------------

list_vms() { # local | oci
  tries=1
  until list=$(within "$TART_LIMIT_S" "$tart" list --source "$1" --quiet); do
    [ "$tries" -lt "$LIST_TRIES" ] ||
      fail "'$tart list' failed" 'Check that Tart is installed, and that you can read its folder (~/.tart).'
    tries=$((tries + 1))
    sleep 1
  done
}

has_vm() { # NAME
  list_vms local
  printf '%s\n' "$list" | grep -qxF -- "$1"
}

has_pulled() { # REFERENCE
  list_vms oci
  printf '%s\n' "$list" | grep -qxF -- "$1"
}

# Before 2.40.1 `tart clone` replaces an existing VM without asking, so this check comes before each clone to
# the snapshot.
refuse_to_replace_snapshot() {
  if [ -z "$force" ] && has_vm "$snapshot"; then
    fail "$snapshot exists already and was not replaced" "Use it as it is, run this with --force, or delete it: tart delete $snapshot"
  fi
}

is_running() {
  case $(within "$TART_LIMIT_S" "$tart" get "$vm" --format json 2>/dev/null | tr -d ' \n') in
    *'"State":"running"'* | *'"Running":true'*) return 0 ;;
  esac
  return 1
}

# Prints one column of a row of public-images: name repository tag digest download unpacked disk format macos
# xcode host tart are 1 to 12.
column_of() { # NAME COLUMN
  awk -v name="$1" -v column="$2" '!/^#/ && $1 == name { print $column }' "$here/public-images"
}

reference_of() { # NAME
  awk -v name="$1" '!/^#/ && $1 == name { print $2 ($4 == "-" ? ":" $3 : "@" $4) }' "$here/public-images"
}

is_older() { # VERSION THAN
  printf '%s %s\n' "$1" "$2" | awk '{
    split($1, have, "."); split($2, want, ".")
    for (i = 1; i <= 3; i++) if (have[i] + 0 != want[i] + 0) exit !(have[i] + 0 < want[i] + 0)
    exit 1 }'
}

# Refuses early, because a Mac or a Tart that is too old for an image would fail late, with unclear words.
refuse_old_host() { # NAME
  needs_macos=$(column_of "$1" 11) needs_tart=$(column_of "$1" 12)
  macos=$(sw_vers -productVersion 2>/dev/null)
  if [ -n "$macos" ] && is_older "$macos" "$needs_macos"; then
    fail "$1 needs a Mac with macOS $needs_macos, and this one has $macos" 'Choose another image with --from: vm-image/public-images lists them.'
  fi
  version=$(within "$TART_LIMIT_S" "$tart" --version 2>/dev/null)
  case $version in
    [0-9]*.[0-9]*) if is_older "$version" "$needs_tart"; then fail "$1 needs Tart $needs_tart, and this is $version" 'Upgrade Tart, or choose another image with --from.'; fi ;;
  esac
}

# A registry on this Mac speaks http.
insecure_option() { # REFERENCE
  case ${1%%/*} in localhost | localhost:* | 127.* | '[::1]'*) printf '%s' --insecure ;; esac
}

# --- ssh ------------------------------------------------------------------------------------------

with_key='-o BatchMode=yes -o IdentitiesOnly=yes -o PasswordAuthentication=no'
# SSH_ASKPASS gives ssh the password without a terminal. It would give the same answer to a second question.
with_password='-o PubkeyAuthentication=no -o PreferredAuthentications=password,keyboard-interactive -o NumberOfPasswordPrompts=1'
login=$with_key

# The host key of a new VM is unknown. ssh accepts the first key that it sees, and only this key for the rest
# of the run.
guest() { # COMMAND; runs in the login shell of the VM
  # shellcheck disable=SC2086 # options, each a word
  SSH_ASKPASS=$work/askpass SSH_ASKPASS_REQUIRE=force DISPLAY=none \
    ssh -i "$key" $login -p "$port" -o ConnectTimeout=5 -o ServerAliveInterval=10 -o ServerAliveCountMax=6 -o LogLevel=ERROR \
    -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile="$work/known_hosts" "$user@$address" "$1"
}

# --- clean-up -------------------------------------------------------------------------------------

work='' address='' reached='' run_pid='' lock='' ours=''

# Asks macOS in the VM to shut down, because `tart stop` would cut the power. Fails if SSH was never reached,
# or if the VM still runs after LIMIT seconds.
shut_down() { # LIMIT
  [ -n "$reached" ] || return 1
  # The shutdown may close the connection before the answer, so the exit code does not matter.
  within 20 guest 'sudo -n shutdown -h now' </dev/null >/dev/null 2>&1 || :
  waited=0
  while is_running; do
    [ "$waited" -lt "$1" ] || return 1
    sleep 2
    waited=$((waited + 2))
  done
}

clean_up() {
  code=$?
  begin_clean_up || exit "$code"
  if [ -n "$ours" ] && is_running; then
    say "Shutting $vm down; its disk is kept, and a second run goes on from there"
    shut_down 30 || within "$TART_LIMIT_S" "$tart" stop "$vm" || printf 'create-base-image.sh: %s is still running: tart stop %s\n' "$vm" "$vm" >&2
  fi
  [ -z "$run_pid" ] || kill "$run_pid" 2>/dev/null
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$lock" ] || rm -rf "$lock"
  exit "$code"
}
trap clean_up EXIT
trap 'on_signal 130' INT
trap 'on_signal 143' TERM HUP

# --- checks before the first change ---------------------------------------------------------------

command -v "$tart" >/dev/null 2>&1 || fail "there is no '$tart'" "Install Tart: $(installation trust-tap) && $(installation add-tap) && $(installation tart)"
[ -r "$key" ] || fail "there is no key $key" "Make one for this purpose: expo-worker init, or: ssh-keygen -t ed25519 -f '$key' -N ''"
[ -r "$key.pub" ] || fail "there is no public key $key.pub" "Make it from the private one: ssh-keygen -y -f '$key' >'$key.pub'"
refuse_to_replace_snapshot

# Two runs for one VM would shut it down while the other works in it. mkdir is atomic, so only one gets the
# lock.
lock=${TMPDIR:-/tmp}/tartbeat-base-image.$vm
if ! mkdir "$lock" 2>/dev/null; then
  owner=$(cat "$lock/pid" 2>/dev/null)
  if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
    lock=''
    failed=75 # to the agent, which tries again
    fail "process $owner is already making $snapshot" 'Wait for it, or stop it with Ctrl-C.'
  fi
fi
printf '%s\n' $$ >"$lock/pid" || fail "cannot write into $lock"
work=$(mktemp -d "${TMPDIR:-/tmp}/tartbeat.XXXXXX") || fail 'cannot make a temporary folder'
# shellcheck disable=SC2016 # for the script that is written
printf '#!/bin/sh\nprintf "%%s\\n" "$TARTBEAT_VM_PASSWORD"\n' >"$work/askpass" && chmod 700 "$work/askpass" || exit

# Before the first change, because a wrong file is found at once.
if [ -n "$cas" ]; then
  split_authorities "$work/authorities" "$cas" || usage "--ca: ${problem:-a file could not be split}"
  cat "$work"/authorities/*.pem >"$work/authorities.pem" || exit
fi

# --- clone, boot ----------------------------------------------------------------------------------

# The reference from which VM was cloned, beside its disk. It is deleted with the VM, and no clone inherits
# it.
noted=$tart_home/vms/$vm/tartbeat-from
digest=''

if has_vm "$vm"; then
  made_from=$(cat "$noted" 2>/dev/null)
  asked=$(reference_of "$from")
  asked=${asked:-$from}
  # A tag may have moved since, so only its repository is compared.
  case $asked in */*@*) ;; */*) asked=${asked%:*} ;; esac
  case $asked:$made_from in
    *: | :*) ;;
    *)
      case $made_from in
        "$asked" | "$asked"@*) ;;
        *) fail "$vm exists already, and was made from $made_from" "Delete it (tart delete $vm), or give another VM, to use $from." ;;
      esac
      ;;
  esac
  say "$vm exists already; using it"
  from=$made_from
else
  if [ -z "$from" ]; then from=$(awk -v bare="$xcode" '!/^#/ && (bare == "" || $10 == "-") { print $1; exit }' "$here/public-images"); fi
  case $from in
    */*) ;;
    *)
      if ! has_vm "$from"; then
        [ -n "$(reference_of "$from")" ] ||
          fail "there is no VM $from to clone $vm from" 'Choose a VM that tart list shows, a name of vm-image/public-images, or an image in a registry.'
        refuse_old_host "$from"
        from=$(reference_of "$from")
      fi
      ;;
  esac
  case $from in
    */*)
      say "Pulling $from (the first time this can take hours)"
      # shellcheck disable=SC2046 # one option or none
      within "$PULL_LIMIT_S" "$tart" pull "$from" $(insecure_option "$from") ||
        fail "tart pull $from failed" 'Run this again. Tart keeps the parts that it has already pulled.'
      case $from in
        *@sha256:*) ;;
        *)
          exact=$(within "$TART_LIMIT_S" "$tart" fqn "$from")
          case $exact in
            *@sha256:*) ;;
            *) fail "tart fqn $from did not print a digest: $(one_line "$exact")" 'Give --from REPOSITORY@sha256:DIGEST.' ;;
          esac
          say "$from is $exact now. For the same image on another Mac: --from $exact"
          from=$exact
          ;;
      esac
      ;;
  esac
  say "Cloning $from to $vm"
  within "$CLONE_LIMIT_S" "$tart" clone "$from" "$vm" || fail "tart clone $from $vm failed"
  [ ! -d "${noted%/*}" ] || printf '%s\n' "$from" >"$noted" || fail "cannot write $noted"
fi
case $from in *@sha256:*) digest=${from##*@} ;; esac

# VM has its own blocks by now. To undo this, pull the same digest again.
if [ -n "$drop_pulled" ] && [ -n "$digest" ] && has_pulled "$from"; then
  say "Deleting the pulled $from"
  within "$TART_LIMIT_S" "$tart" delete "$from" || fail "tart delete $from failed"
fi

if is_running; then
  say "$vm is running; it will be shut down at the end"
else
  # `tart set` refuses a size that is smaller than the disk.
  if [ -z "$disk_gb" ] && [ -n "$xcode" ]; then
    has_gb=$(within "$TART_LIMIT_S" "$tart" get "$vm" --format json 2>/dev/null | sed -n 's/.*"Disk" *: *\([0-9]*\).*/\1/p')
    [ "${has_gb:-$XCODE_DISK_GB}" -ge "$XCODE_DISK_GB" ] || disk_gb=$XCODE_DISK_GB
  fi
  set --
  [ -z "$cpus" ] || set -- "$@" --cpu "$cpus"
  [ -z "$memory_gb" ] || set -- "$@" --memory $((memory_gb * 1024))
  [ -z "$disk_gb" ] || set -- "$@" --disk-size "$disk_gb"
  [ $# -eq 0 ] || within "$TART_LIMIT_S" "$tart" set "$vm" "$@" || fail "tart set $vm $* failed"
  say "Starting $vm"
  launching=yes
  # nohup keeps the VM running when the terminal closes, so that clean_up can shut it down in order.
  nohup "$tart" run "$vm" --no-graphics --no-audio --no-clipboard >"$work/run.log" 2>&1 </dev/null &
  run_pid=$!
fi
ours=yes
launched

# Fails at once if `tart run` has ended, and prints the reason from its log.
still_runs() {
  [ -n "$run_pid" ] || return 0
  case $(ps -p "$run_pid" -o stat= 2>/dev/null) in '' | Z*) ;; *) return 0 ;; esac
  run_pid=''
  reason=$(tail -n 5 "$work/run.log")
  case $reason in
    *'exceeds the system limit'*) advice='A Mac runs two macOS VMs at most: stop one. If none runs, restart the Mac.' ;;
    *VZErrorDomain* | *HostKey*) advice='VMs need a user logged in at the screen of this Mac, and an unlocked keychain.' ;;
    *) advice='' ;;
  esac
  fail "tart run $vm ended: $(one_line "${reason:-it printed nothing}")" "$advice"
}

say "Waiting for its address (up to $wait_s s)"
waited=0
while :; do
  still_runs
  address=$(within "$TART_LIMIT_S" "$tart" ip "$vm" --wait 5 2>/dev/null)
  case $address in
    *[!0-9.]* | '') address='' ;;
    *.*.*.*) break ;;
  esac
  waited=$((waited + 5))
  if [ "$waited" -ge "$wait_s" ]; then
    still_runs
    fail "$vm got no address within $wait_s s" 'The DHCP leases of this Mac may be used up; a restart of the Mac frees them.'
  fi
  sleep 1
done

say "Waiting for SSH at $address (up to $wait_s s)"
waited=0
while :; do
  still_runs
  login=$with_key
  within 20 guest true </dev/null >/dev/null 2>&1 && break
  login=$with_password
  within 20 guest true </dev/null >/dev/null 2>"$work/ssh.log" && break
  waited=$((waited + 5))
  if [ "$waited" -ge "$wait_s" ]; then
    still_runs
    fail "no SSH login as $user within $wait_s s: $(one_line "$(tail -n 1 "$work/ssh.log")")" \
      'Remote Login must be on in the VM, and TARTBEAT_VM_PASSWORD must be the password of the account (default: admin). A key that is tied to vm-ssh-gate cannot provision.'
  fi
  sleep 5
done

reached=yes

# --- provision, verify ----------------------------------------------------------------------------

# shellcheck disable=SC2016 # for the guest
folder='"$HOME/.tartbeat-image"'

say 'Copying the scripts into the VM'
copy() {
  COPYFILE_DISABLE=1 tar -cf - -C "$here" . | guest "rm -rf $folder && mkdir -p $folder && tar -xf - -C $folder" &&
    guest "cat >$folder/agent.pub" <"$key.pub" &&
    { [ -z "$cas" ] || guest "cat >$folder/authorities.pem" <"$work/authorities.pem"; }
}
within "$COPY_LIMIT_S" copy || fail 'the scripts could not be copied into the VM'

skips=''
for step in $skip; do skips="$skips --skip $step"; done

# sudo reads the password from standard input; the command gets /dev/null. If sudo asks for no password, it
# ignores the input.
as_root() { # COMMAND
  printf '%s\n' "$TARTBEAT_VM_PASSWORD" | guest "sudo -S -p '' sh -c 'exec \"\$@\" </dev/null' sh $1"
}
within 30 as_root true >/dev/null 2>&1 ||
  fail "$user cannot use sudo in the VM" 'TARTBEAT_VM_PASSWORD must be the password of the account, and the account must be an administrator.'

options="--user $user --key-file $folder/agent.pub --free-key${digest:+ --base-digest $digest}"
options="$options${filter:+ --packet-filter $filter}${cas:+ --ca $folder/authorities.pem}${disk_gb:+ --disk-gb $disk_gb}"

if [ -n "$xcode" ]; then
  sum=$(shasum -a 256 "$xcode" | awk '{ print $1 }')
  # shellcheck disable=SC2016 # for the guest
  noted_sum=$(within 30 guest 'cat "${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/xcode-download" 2>/dev/null' </dev/null)
  if [ "${noted_sum%% *}" = "$sum" ]; then
    say "${noted_sum#* } is in the VM already"
  else
    # The container has to grow before the file comes.
    within "$VERIFY_LIMIT_S" as_root "sh $folder/provision.sh --user $user --only disk${disk_gb:+ --disk-gb $disk_gb}" ||
      fail 'macOS did not get the whole disk of the VM'
    bytes=$(wc -c <"$xcode" | tr -d ' ')
    free_kb=$(within 30 guest 'df -P -k /' </dev/null | awk 'NR == 2 { print $4 }')
    free_gb=$((${free_kb:-0} * 1024 / 1000000000)) needs_gb=$((bytes * XCODE_TIMES / 1000000000 + FREE_GB))
    [ "$free_gb" -ge "$needs_gb" ] ||
      fail "the VM has $free_gb GB free, and to unpack Xcode takes $needs_gb GB" "Give it a larger disk: --disk-gb $((${disk_gb:-$XCODE_DISK_GB} + needs_gb - free_gb))"
    say "Copying ${xcode##*/} into the VM"
    within "$XCODE_LIMIT_S" guest "cat >$folder/Xcode.xip" <"$xcode" || fail "$xcode could not be copied into the VM"
    [ "$(within 30 guest "wc -c <$folder/Xcode.xip" </dev/null | tr -d ' ')" = "$bytes" ] || fail "$xcode did not arrive whole in the VM"
    options="$options --xcode-file $folder/Xcode.xip"
  fi
fi

say 'Provisioning (the first time this takes long)'
within "$PROVISION_LIMIT_S" as_root "sh $folder/provision.sh $options$skips" ||
  fail 'provisioning stopped at the step above' 'Follow its advice and run this again. Finished steps are not repeated.'

say 'Verifying with the key, as the agent will see it'
login=$with_key
# shellcheck disable=SC2016 # for the guest
within "$VERIFY_LIMIT_S" guest '"${TARTBEAT_ROOT:-}/usr/local/bin/tartbeat-verify"'"$skips${disk_gb:+ --disk-gb $disk_gb}${controller:+ --controller $controller}" </dev/null ||
  fail "$vm did not pass the checks above" 'Follow their advice and run this again.'
within 30 guest "rm -rf $folder" </dev/null || fail 'the scripts could not be removed from the VM'
# The file is the guest's, so only its first valid line of each kind is taken.
read_identity() {
  # shellcheck disable=SC2016 # for the guest
  identity=$(within 30 guest 'cat "${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/image"' </dev/null | awk '
    /^digest=$/ || (/^digest=sha256:[0-9a-f]+$/ && length($0) == 78) { if (!digests++) print }
    /^provisioned=[0-9a-f]+$/ && length($0) == 76 { if (!hashes++) print }')
}
read_identity

# This is the last step, because provisioning needs commands that a tied key cannot run.
if [ -n "$restrict" ]; then
  say 'Tying the key to vm-ssh-gate'
  within "$VERIFY_LIMIT_S" as_root "\"\${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/provision.sh\" --only restrict-key --restrict-key --user $user" ||
    fail 'the key could not be tied to vm-ssh-gate'
  [ "$(within 20 guest 'echo alive' </dev/null)" = alive ] || fail 'the VM does not answer with the tied key'
  if within 20 guest true </dev/null 2>/dev/null; then fail 'the tied key can still run any command'; fi
fi

if [ -n "$publication" ]; then
  # Another Mac enters the image with the password, because it has no key in there.
  login=$with_password
  within 20 guest true </dev/null >/dev/null 2>&1 ||
    fail "$user cannot log in with the password, so no other Mac could enter the published image" \
      'Allow passwords again, for instance: delete /etc/ssh/sshd_config.d/100-tartbeat.conf in the VM. And set TARTBEAT_VM_PASSWORD.'
  say 'Taking the keys and addresses of this Mac out of the image'
  within "$VERIFY_LIMIT_S" as_root "\"\${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/release-image.sh\" --user $user" ||
    fail 'the image still holds something of this Mac'
  read_identity
fi

# --- shut down, snapshot --------------------------------------------------------------------------

say "Shutting $vm down (up to $wait_s s)"
shut_down "$wait_s" ||
  fail "$vm did not shut down within $wait_s s" 'No snapshot was made, because the disk of this VM may be damaged. Run this again.'
ours=''
run_pid=''

# An older Tart replaces an existing VM, a newer one refuses. So the old snapshot keeps its name until the new
# one is whole.
refuse_to_replace_snapshot
new=$snapshot
! has_vm "$snapshot" || new=$snapshot-new
if [ "$new" != "$snapshot" ] && has_vm "$new"; then
  within "$TART_LIMIT_S" "$tart" delete "$new" || fail "tart delete $new failed"
fi
say "Cloning $vm to $snapshot"
within "$CLONE_LIMIT_S" "$tart" clone "$vm" "$new" || fail "tart clone $vm $new failed"
if [ "$new" != "$snapshot" ]; then
  { within "$TART_LIMIT_S" "$tart" delete "$snapshot" && within "$TART_LIMIT_S" "$tart" rename "$new" "$snapshot"; } ||
    fail "$new could not take the place of $snapshot" "Do it by hand: tart delete $snapshot; tart rename $new $snapshot"
fi
has_vm "$snapshot" || fail "tart clone succeeded, but tart list does not show $snapshot"
if [ -n "$result" ]; then
  { printf 'snapshot=%s\n%s\nfrom=%s\n' "$snapshot" "$identity" "$from" >"$result.new" && mv -f "$result.new" "$result"; } ||
    fail "$snapshot is ready, but $result could not be written"
fi
say "$snapshot is ready: $(one_line "$identity")"
if [ -n "$xcode" ]; then
  say 'A downloaded Xcode has no platforms. For iOS, in the VM: sudo xcodebuild -downloadPlatform iOS (8 GB); then run this with --force.'
fi
if [ -n "$publication" ]; then
  say "Next: tart push $snapshot REGISTRY/NAME:TAG, and on the other Macs --from REGISTRY/NAME@sha256:DIGEST"
else
  say 'Next: expo-worker doctor'
fi
