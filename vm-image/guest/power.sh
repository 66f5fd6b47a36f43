#!/bin/bash
# Shuts macOS in the VM down in order. `tart stop` alone would cut the power.
#
#   power.sh shut-down
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

case ${1-} in
  shut-down) sudo -n shutdown -h now ;;
  *) no_such_subcommand ;;
esac
