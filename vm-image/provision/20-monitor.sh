#!/bin/sh
# Installs the monitor and its helpers in /usr/local/bin, and all scripts in /usr/local/share/tartbeat, for
# `tartbeat-verify`. The guest scripts are in /usr/local/share/tartbeat/guest. A link in the home of the
# account leads to them. The agent finds the version of the image there, and calls the scripts there.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='The monitor, its helpers and the guest scripts are installed'
source=${here%/*}
bin=$root/usr/local/bin
programs='vm-monitor.sh send_heartbeat keychain vm-ssh-gate tartbeat-verify'
version=$(cat "$source/guest/version" 2>/dev/null)
find_home
links=$home/.tartbeat/guest

# The files that other steps keep in the same folder.
kept='image provisioned certificates authorities xcode-download'

# shellcheck disable=SC2046,SC2002 # a list of files
checksum() { (cd "$1" 2>/dev/null && cat $(shared_files) 2>/dev/null | cksum); } # FOLDER

check() {
  for program in $programs; do
    if [ ! -x "$bin/$program" ]; then
      missing "$bin/$program does not exist or is not executable"
      return
    elif ! cmp -s "$source/$program" "$bin/$program"; then
      missing "$bin/$program is another version"
      return
    fi
  done
  if [ "$source" != "$share" ] && [ "$(checksum "$source")" != "$(checksum "$share")" ]; then
    missing "$share is absent or another version"
    return
  fi
  # Ignores folders, because the agent installs its own scripts as a folder in a clone.
  if [ "$(find "$links" -type l 2>/dev/null)" != "$links/$version" ] || [ "$(readlink "$links/$version")" != "$share/guest" ]; then
    missing "$links must have exactly one link, $version, to $share/guest"
    return
  fi
  found "$programs; guest scripts $version"
}

apply() {
  # A Mac with Apple silicon comes without /usr/local/bin.
  attempt mkdir -p "$bin" "${share%/*}" || return
  # Removes the links first, so that no link ever leads to scripts of another version than its name says.
  attempt as_user rm -rf "$links" || return
  if [ "$source" != "$share" ]; then
    # Copies into a new folder and then renames it, so that the installed scripts are never half copied.
    files=$(cd "$source" && shared_files)
    attempt rm -rf "$share.new" &&
      attempt mkdir -p "$share.new/guest" "$share.new/provision" "$share.new/fastlane/actions" || return
    for folder in . guest provision fastlane fastlane/actions; do
      set --
      for file in $files; do
        case ${file%/*} in "$folder" | "./$folder") set -- "$@" "$source/$file" ;; esac
      done
      attempt cp "$@" "$share.new/$folder/" || return
    done
    for other in $kept; do
      [ ! -e "$share/$other" ] || attempt cp -Rp "$share/$other" "$share.new/$other" || return
    done
    attempt chmod -R u=rwX,go=rX "$share.new" && attempt chmod 755 "$share.new"/guest/*.sh &&
      attempt chown -R root:wheel "$share.new" &&
      attempt rm -rf "$share" && attempt mv "$share.new" "$share" || return
  fi
  for program in $programs; do
    attempt cp "$source/$program" "$bin/$program.new" && attempt chmod 755 "$bin/$program.new" &&
      attempt chown root:wheel "$bin/$program.new" && attempt mv -f "$bin/$program.new" "$bin/$program" || return
  done
  attempt as_user mkdir -p "$links" && attempt as_user ln -s "$share/guest" "$links/$version"
}

step "$@"
