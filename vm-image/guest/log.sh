#!/bin/bash
# Prints a part of the log of the build.
#
#   log.sh read FIRST BYTES    at most BYTES bytes, beginning with byte FIRST; the first byte has the number 1
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

case ${1-} in
  read) tail -c "+$2" "$log" | head -c "$3" ;;
  *) no_such_subcommand ;;
esac
