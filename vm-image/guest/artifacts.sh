#!/bin/bash
# Lists, packs and prints files that the build has made. All paths start at the source.
#
#   artifacts.sh list        STATE BUILD ATTEMPT PATH…          regular files below each PATH, with sizes
#   artifacts.sh pack-files  STATE BUILD ATTEMPT                a tar of the files named on standard input
#   artifacts.sh pack-folder STATE BUILD ATTEMPT PARENT NAME    a compressed tar of PARENT/NAME, with links
#   artifacts.sh read-file   STATE BUILD ATTEMPT PATH
#
# Invariant: the script follows no link. Only `pack-folder` packs links, and packs them as links.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

# `find` ends with 1 if a folder is missing or cannot be read. A higher code means that `find` did not run.
list() { # PATH…
  find "$@" \( -name node_modules -o -name .git \) -prune -o -type f -print0 2>/dev/null
  [ $? -le 1 ]
}

# Prints the names, each with NUL at its end, then an empty name, then the sizes in the same order, one a
# line. It searches twice, because a saved list would fail on a full disk.
list_with_sizes() { # STATE BUILD ATTEMPT PATH…
  shift 3
  list "$@" && printf '\0' || exit 1
  size='-c %s'
  # shellcheck disable=SC2086 # two words
  stat $size / >/dev/null 2>&1 || size='-f %z'
  # shellcheck disable=SC2086
  list "$@" | xargs -0 stat $size --
  exit 0
}

# With --null, GNU tar and bsdtar read names that end in NUL, so a name may contain any other character.
pack_files() {
  COPYFILE_DISABLE=1 exec tar -cf - --null -T -
}

# `gzip -n` leaves the time out of the archive. The same files then make the same archive, so that a repeated
# upload finds it stored.
pack_folder() { # STATE BUILD ATTEMPT PARENT NAME
  set -o pipefail
  cd "$4" && COPYFILE_DISABLE=1 tar -cf - "./$5" | gzip -n
}

subcommand=${1-}
shift
on_attempt "$@"
cd "$state/source" || exit 1
case $subcommand in
  list) list_with_sizes "$@" ;;
  pack-files) pack_files ;;
  pack-folder) pack_folder "$@" ;;
  read-file) exec cat -- "$4" ;;
  *) no_such_subcommand ;;
esac
