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
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./provision/lib.sh"

say() { printf 'release-image.sh: %s\n' "$1" >&2; }

if [ "${1:-}" != --user ] || [ -z "${2:-}" ] || [ $# -ne 2 ]; then
  printf 'usage: release-image.sh --user NAME\n' >&2
  exit 64
fi
TARTBEAT_USER=$2
is_root || { say 'this changes the system and needs root' && exit 77; }
find_home
[ -n "$home" ] || { say "there is no account '$TARTBEAT_USER'" && exit 1; }

# --- credentials of a person ----------------------------------------------------------------------

# One path a line. Contents are never printed.
left=''
add_left() { left="$left
    $(one_line "$1")"; }

readonly SECRET_WORD='auth|pass[pw]|token|secret|api_?key|private_?key|://[^/@ ]*:[^/@ ]*@'
readonly SECRET_VARIABLE='^[[:space:]]*(export[[:space:]]+)?[A-Za-z0-9_]*(token|passw|secret|api_?key|access_?key|private_?key|credential)[A-Za-z0-9_]*=.'
readonly PRIVATE_KEY='-----BEGIN [A-Z0-9 ]*PRIVATE KEY'

# Bundler has the credentials of a host under its name, in which two underscores stand for a dot.
has_bundle_credentials() { # FILE
  grep -E '^BUNDLE_[^ ]*__[^ ]*:' "$1" 2>/dev/null | grep -qvE '^BUNDLE_((BUILD|MIRROR|LOCAL|PLUGINS)__|GEM__[A-Z]+(_[A-Z]+)*:)'
}

look_into_home() { # FOLDER
  for file in .netrc .aws/credentials .config/gh/hosts.yml .config/hub .gem/credentials .git-credentials .config/git/credentials \
    .docker/config.json .pypirc .sentryclirc .config/gcloud/application_default_credentials.json \
    .config/configstore/firebase-tools.json; do
    [ ! -s "$1/$file" ] || add_left "$1/$file"
  done
  for file in .npmrc .yarnrc .yarnrc.yml .config/pip/pip.conf .expo/state.json .gradle/gradle.properties .gradle/init.gradle \
    .m2/settings.xml; do
    ! grep -qiE -- "$SECRET_WORD" "$1/$file" 2>/dev/null || add_left "$1/$file"
  done
  if has_bundle_credentials "$1/.bundle/config" || grep -qE '://[^/@ ]*@' "$1/.bundle/config" 2>/dev/null; then add_left "$1/.bundle/config"; fi
  for file in .profile .bash_profile .bash_login .bashrc .zshenv .zprofile .zshrc .zlogin; do
    ! grep -qiE -- "$SECRET_VARIABLE" "$1/$file" 2>/dev/null || add_left "$1/$file"
  done
  for file in "$1"/.ssh/id_*; do
    case $file in *.pub) continue ;; esac
    [ ! -f "$file" ] || add_left "$file"
  done
  for file in "$1"/.ssh/* "$1"/*; do
    case $file in "$1"/.ssh/id_*) continue ;; esac
    if [ -f "$file" ] && grep -qE -- "$PRIVATE_KEY" "$file" 2>/dev/null; then add_left "$file"; fi
  done
  for folder in "$1" "$1/Desktop" "$1/Documents" "$1/Downloads"; do
    for file in "$folder"/*.p12 "$folder"/*.p8 "$folder"/*.mobileprovision "$folder"/*.jks "$folder"/*.keystore; do
      [ ! -f "$file" ] || add_left "$file"
    done
  done
  # Apple's tools look for keys of App Store Connect in these folders, Xcode before 16 and since 16 keeps
  # profiles in them, and fastlane keeps sessions.
  for folder in private_keys .private_keys .appstoreconnect/private_keys Library/MobileDevice/Provisioning\ Profiles \
    Library/Developer/Xcode/UserData/Provisioning\ Profiles; do
    for file in "$1/$folder"/*; do [ ! -f "$file" ] || add_left "$file"; done
  done
  for file in "$1"/.fastlane/spaceship/*/cookie; do [ ! -f "$file" ] || add_left "$file"; done
}

# Counts expired identities too. The two that macOS makes for itself are of no use on another Mac.
look_into_keychain() { # COMMAND… FILE
  for keychain in "$@"; do :; done
  [ -f "$keychain" ] || return 0
  identities=$("$@" </dev/null 2>/dev/null)
  case $identities in
    *'identities found'*) ;;
    *) add_left "$keychain (security could not say whether it has signing identities)" && return ;;
  esac
  identities=$(printf '%s\n' "$identities" | grep -E '^ *[0-9]+\) [0-9A-Fa-f]{40} "' | grep -cv '"com\.apple\.')
  [ "$identities" -eq 0 ] || add_left "$keychain (signing identities)"
}

look_into_home "$home"
look_into_home "$root/var/root"
for file in "$home"/Library/Keychains/*.keychain "$home"/Library/Keychains/*.keychain-db; do
  look_into_keychain as_user security find-identity -p codesigning "$file"
done
look_into_keychain security find-identity -p codesigning "$root/Library/Keychains/System.keychain"
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
# The packet filter is part of the provisioning, and is off now.
sh "$here/provision/70-image.sh" >/dev/null || { say 'the image could not write down what it is' && exit 1; }
printf 'nothing of this Mac is left in the image; its password still lets %s in\n' "$TARTBEAT_USER"
