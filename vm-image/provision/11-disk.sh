#!/bin/sh
# Gives macOS the whole disk of the VM. `tart set --disk-size` only enlarges the disk. Tart's guest agent then
# grows the APFS container at the next start, if the image has that agent and no Recovery partition behind the
# container.
#
#   TARTBEAT_DISK_GB   size that was asked for, in GB of 10^9 bytes; empty: the size that the disk has
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='macOS has the whole disk of the VM'
wanted=${TARTBEAT_DISK_GB:-}
fix='begin with an image without a Recovery partition behind its container: the base and xcode images up to macOS 26 have none. Or move it by hand: https://tart.run/faq/#disk-resizing'
# macOS keeps a boot partition of 0.5 GB, and often a Recovery partition of 5 GB.
readonly OTHER_PARTITIONS_GB=8

# Sets container_gb from df, because df says what a build can use, and store, disk and disk_gb from diskutil.
measure() {
  # The header has seven words, and the size of the first row is the second word after it.
  # shellcheck disable=SC2046
  set -- $(df -P -k / 2>/dev/null)
  total_kb=${9:-}
  case $total_kb in '' | *[!0-9]*) container_gb='' ;; *) container_gb=$((total_kb * 1024 / 1000000000)) ;; esac
  value_after 'APFS Physical Store:' "$(diskutil info / 2>/dev/null)"
  store=$value
  disk=${store%s[0-9]*}
  [ -z "$disk" ] || value_after 'Disk Size:' "$(diskutil info "$disk" 2>/dev/null)"
  bytes=${value%% Bytes*}
  bytes=${bytes##*[!0-9]}
  disk_gb=$((${bytes:-0} / 1000000000))
}

check() {
  measure
  if [ -z "$container_gb" ]; then
    missing 'df printed no figures'
  elif [ "$disk_gb" -gt 0 ] && [ "$disk_gb" -lt "$((${wanted:-0} - 1))" ]; then
    missing "the disk has $disk_gb GB, not $wanted GB: set it while the VM is off, with tart set VM --disk-size $wanted"
  elif [ "$container_gb" -lt "$((${wanted:-0} - OTHER_PARTITIONS_GB))" ] || [ "$container_gb" -lt "$((disk_gb - OTHER_PARTITIONS_GB))" ]; then
    [ "$disk_gb" -gt 0 ] || disk_gb=$wanted
    missing "macOS has $container_gb GB of a disk of $disk_gb GB"
  elif [ "$disk_gb" -eq 0 ]; then
    found "macOS has $container_gb GB"
  else
    found "macOS has $container_gb GB of a disk of $disk_gb GB"
  fi
}

apply() {
  if [ -z "$store" ]; then
    problem='diskutil info / names no APFS Physical Store'
    return 1
  fi
  # The partition map still ends where the disk ended before. diskutil asks before it repairs the map.
  # shellcheck disable=SC2016 # for the inner shell
  attempt sh -c 'yes | diskutil repairDisk "$1"' sh "$disk" && attempt diskutil apfs resizeContainer "$store" 0
}

step "$@"
