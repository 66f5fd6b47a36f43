#!/bin/bash
# Installs these scripts in a VM, if their content matches their version.
#
#   install.sh VERSION
#
# VERSION is the content of the file `version`: a number, and the first 16 digits of a SHA-256 over all other
# files.
#
# If the image has another version, the agent unpacks its scripts into a folder beside
# $HOME/.tartbeat/guest/VERSION and calls this script there. Exit codes: 0 if VERSION is installed now, 3 if
# the files do not match VERSION.
#
# Invariant: $HOME/.tartbeat/guest/VERSION is complete or absent, and never changes.
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")" || exit 1
place=$HOME/.tartbeat/guest/$1

# macOS has shasum. Linux, where the tests run, may have only sha256sum.
hash='shasum -a 256'
command -v shasum >/dev/null 2>&1 || hash=sha256sum

content() {
  for file in *; do
    [ "$file" = version ] || { printf '%s\n' "$file" && cat "$file"; } || return
  done
}

digest=$(content | $hash) || exit 1
if [ "$1" != "${1%%-*}-$(printf %.16s "$digest")" ] || [ "$(cat version)" != "$1" ]; then
  printf 'install.sh: the files that arrived do not match version %s of the guest scripts\n' "$1" >&2
  exit 3
fi
chmod 755 ./*.sh && mkdir -p "${place%/*}" || exit 1
# A link to scripts that the image no longer has is removed, and never a folder: another installation may have
# put it there just now. If two agents run this at the same time, the second `mv` fails, or puts its folder
# inside the folder of the first.
[ -d "$place" ] || { rm -f "$place" && mv "$PWD" "$place"; } || [ -d "$place" ] || exit 1
rm -rf "${place:?}/${PWD##*/}"
