#!/bin/bash
# Puts these scripts in their place in a VM, if they are what their version says.
#
#   install.sh VERSION
#
# VERSION is what the file `version` holds: a number, and the first 16 digits of a SHA-256 over all other
# files.
#
# The agent unpacks the scripts into a folder beside that place and calls this, when the image has another
# version. Exit codes: 0 if this version is in place, 3 if the files are not those that VERSION names.
#
# Invariant: $HOME/.tartbeat/guest/VERSION is whole or absent, and never changes.
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")" || exit 1
place=$HOME/.tartbeat/guest/$1

# macOS has shasum. Linux, in tests, has the other.
hash='shasum -a 256'
command -v shasum >/dev/null 2>&1 || hash=sha256sum

content() {
  for file in *; do
    [ "$file" = version ] || { printf '%s\n' "$file" && cat "$file"; } || return
  done
}

digest=$(content | $hash) || exit 1
if [ "$1" != "${1%%-*}-$(printf %.16s "$digest")" ] || [ "$(cat version)" != "$1" ]; then
  printf 'install.sh: the files that arrived are not guest scripts %s\n' "$1" >&2
  exit 3
fi
chmod 755 ./*.sh && mkdir -p "${place%/*}" || exit 1
[ -d "$place" ] || { rm -rf "$place" && mv "$PWD" "$place"; } || exit 1
# If two of these ran at once, the second has moved its folder into that of the first.
rm -rf "${place:?}/${PWD##*/}"
