# shellcheck shell=bash
# Has the function that packs the source for Expo's engine. It does nothing by itself.
#
# find chooses the files, by their whole path. With `--exclude ./ios` the tar of macOS would leave out every
# folder ios, that of a module in the project too.
#
# Invariant: only the folders that pack_source names are left out. Links, empty folders and files whose names
# have line breaks are packed as they are.
# shellcheck disable=SC2154 # expo.sh and the agent's script set the variables

# Makes a text that `find -path` takes as it is.
literal() { # TEXT
  printf '%s' "$1" | LC_ALL=C sed 's/[][*?\\]/\\&/g'
}

# The native folder of a managed project is left over from the computer where the source was packed, and
# prebuild would change it where it must make a new one. With a third argument every node_modules stays out,
# because the engine installs the dependencies itself.
pack_source() { # ARCHIVE managed|generic [without-modules]
  local native=$platform leave_out
  leave_out=(-path ./tartbeat-artifacts)
  [ "$app_root" = . ] || native=$app_root/$platform
  if [ "$2" = managed ] && [ -d "$state/source/$native" ]; then
    leave_out=("${leave_out[@]}" -o -path "./$(literal "$native")")
    say "The folder $native is left out, because the project is managed: Expo makes it new."
  fi
  [ -z "${3-}" ] || leave_out=("${leave_out[@]}" -o -name node_modules)
  (
    set -o pipefail
    umask 077
    cd "$state/source" || exit 1
    find . \( "${leave_out[@]}" \) -prune -o -print0 |
      COPYFILE_DISABLE=1 tar --null --no-recursion -cf - -T - | gzip -1 >"$1"
  )
}
