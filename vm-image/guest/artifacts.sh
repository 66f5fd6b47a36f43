#!/bin/bash
# Lists and packs files that the build has made. All paths are below the source.
#
#   artifacts.sh list        STATE BUILD ATTEMPT PATH…          regular files below each PATH, with sizes
#   artifacts.sh pack-files  STATE BUILD ATTEMPT                a tar of the files named on standard input
#   artifacts.sh pack-folder STATE BUILD ATTEMPT PARENT NAME    a compressed tar of PARENT/NAME, with links
#   artifacts.sh read-file   STATE BUILD ATTEMPT PATH
#
# Invariant: links are not followed. Only `pack-folder` takes them along, as links.
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

# `find` ends with 1 for a folder that it cannot read or that is not there. With a higher code it has not run.
list() { # PATH…
  find "$@" \( -name node_modules -o -name .git \) -prune -o -type f -print0 2>/dev/null
  [ $? -le 1 ]
}

# Names end in NUL, and an empty name ends the list. Then come the sizes, one a line, in the same order. The
# files are looked for twice, because a list that is kept would need a disk that is not full.
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

# The names end in NUL, and both tars take such names as they are.
pack_files() {
  COPYFILE_DISABLE=1 exec tar -cf - --null -T -
}

# `gzip -n` keeps the time out of the archive: the same files make the same archive, which a repeated upload
# finds stored.
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
