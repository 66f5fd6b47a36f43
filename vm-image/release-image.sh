#!/bin/sh
# Takes everything that belongs to one Mac out of this VM, so that its image can be published: keys that may
# log in, the host keys of sshd, addresses of the controller, the state of builds, histories of shells.
# create-base-image.sh --for-publication calls it last, as root.
#
#   release-image.sh --user NAME
#
# It deletes no credentials of a person, because it cannot know which of them are wanted. It refuses an image
# that has any, and names them.
#
# Ends with 0 when nothing of this Mac is left, 1 otherwise, 64 on wrong arguments, 77 without root.
#
# Invariant: after 0, no key can log in, and sshd makes host keys of its own at the next start. Another Mac
# enters with the password of the account, and create-base-image.sh then adds that Mac's own key.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=vm-image/provision/lib.sh
. "$here/provision/lib.sh"

say() { printf 'release-image.sh: %s\n' "$1" >&2; }

if [ "${1:-}" != --user ] || [ -z "${2:-}" ] || [ $# -ne 2 ]; then
  printf 'usage: release-image.sh --user NAME\n' >&2
  exit 64
fi
TARTBEAT_USER=$2
is_root || { say 'this changes the system and needs root' && exit 77; }
home=$(user_home)
[ -n "$home" ] || { say "there is no account '$TARTBEAT_USER'" && exit 1; }

# --- credentials of a person ----------------------------------------------------------------------

left=''
for file in .netrc .aws/credentials .config/gh/hosts.yml .gem/credentials .git-credentials .docker/config.json; do
  [ ! -s "$home/$file" ] || left="$left ~/$file"
done
for file in .npmrc .yarnrc.yml .config/pip/pip.conf; do
  ! grep -qiE 'auth|password|token' "$home/$file" 2>/dev/null || left="$left ~/$file"
done
for file in "$home"/.ssh/id_*; do
  [ ! -f "$file" ] || left="$left ~/.ssh/${file##*/}"
done
for file in "$home"/*.p12 "$home"/*.p8 "$home"/*.mobileprovision "$home"/Library/MobileDevice/Provisioning*Profiles/*; do
  [ ! -f "$file" ] || left="$left $file"
done
if [ -n "$left" ]; then
  say "these files may hold secrets of yours:$left"
  say 'delete them in the VM, or take what is secret out of them, and run this again'
  exit 1
fi

# --- what belongs to this Mac ---------------------------------------------------------------------

problem=''
give_up() {
  say "$problem"
  exit 1
}
# shellcheck disable=SC2015 # give_up ends the script
attempt rm -f "$home/.ssh/authorized_keys" "$root/var/root/.ssh/authorized_keys" &&
  attempt rm -f "$root"/etc/ssh/ssh_host_* &&
  attempt rm -f "$root/etc/tartbeat-packet-filter.conf" "$root/Library/LaunchDaemons/dev.tartbeat.packet-filter.plist" &&
  attempt rm -f "$home/.bash_history" "$home/.zsh_history" "$root/var/root/.bash_history" "$root/var/root/.zsh_history" &&
  attempt rm -rf "$home/.bash_sessions" "$home/.zsh_sessions" "$home/.tartbeat-image" || give_up
# Only the host keys of the large forges stay; others would name servers of one's own.
if [ -f "$home/.ssh/known_hosts" ]; then
  attempt as_user cp "$here/guest/known-hosts" "$home/.ssh/known_hosts" || give_up
fi
for file in "$home"/.tartbeat/* "$home"/.tartbeat/.[!.]*; do
  case ${file##*/} in guest | '*' | '.[!.]*') ;; *) attempt rm -rf "$file" || give_up ;; esac
done
# The packet filter belongs to what was put on top, and is off now.
sh "$here/provision/70-image.sh" >/dev/null || { say 'the image could not write down what it is' && exit 1; }
printf 'nothing of this Mac is left in the image; its password still lets %s in\n' "$TARTBEAT_USER"
