#!/bin/bash
# Reads what the build has printed.
#
#   log.sh read FIRST BYTES    at most BYTES bytes, from byte FIRST on; the first byte of the log is 1
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

case ${1-} in
  read) tail -c "+$2" "$log" | head -c "$3" ;;
  *) no_such_subcommand ;;
esac
