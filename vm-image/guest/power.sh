#!/bin/bash
# Shuts the VM down as a person would; `tart stop` alone is the power switch.
#
#   power.sh shut-down
# shellcheck source=vm-image/guest/lib.sh
. "${0%/*}/lib.sh"

case ${1-} in
  shut-down) sudo -n shutdown -h now ;;
  *) no_such_subcommand ;;
esac
