# shellcheck shell=bash
# Has the functions that collect what an Expo build has made, and that put the built project in the place of
# the source. expo.sh sources this file; it does nothing by itself.
#
# The engine copies the app as build-TIME.EXTENSION, and all files of `buildArtifactPaths` together as one
# archive. Here they get their own names back.
#
# Invariant: at most 60 files and 4 GiB are collected beside the app, and a line of the log names the rest.
# shellcheck disable=SC2154 # expo.sh sets the variables

readonly collected_most=60 collected_kib_most=4194304
collected=0 collected_kib=0
artifacts=$state/source/tartbeat-artifacts

# Collects a file, or a folder as NAME.tar.gz. The first of a name wins.
collect() { # PATH NAME
  local kib target=$artifacts/$2
  [ ! -d "$1" ] || target=$target.tar.gz
  [ ! -e "$target" ] || return 0
  kib=$(du -sk "$1" 2>/dev/null | awk '{ print $1 }')
  if [ "$collected" -ge "$collected_most" ] || [ $((collected_kib + ${kib:-0})) -gt "$collected_kib_most" ]; then
    say "Left out of the artifacts: $2 (${kib:-0} KiB). At most $collected_most files and $((collected_kib_most / 1048576)) GiB are collected."
    return 0
  fi
  mkdir -p "${target%/*}" || return
  if [ -d "$1" ]; then
    (set -o pipefail && COPYFILE_DISABLE=1 tar -cf - -C "$(dirname "$1")" "$(basename "$1")" | gzip -n >"$target")
  else
    cp "$1" "$target"
  fi || {
    rm -f "$target"
    say "Left out of the artifacts: $2 could not be copied. Is the disk of the VM full?"
    return 0
  }
  collected=$((collected + 1)) collected_kib=$((collected_kib + ${kib:-0}))
}

# Prints the path of the file of the project that the engine has copied.
find_original() { # COPY
  local size pattern='*' path
  case ${1##*/} in *.*) pattern="*.${1##*.}" ;; esac
  size=$(wc -c <"$1")
  find "$engine_work/build" \( -name node_modules -o -name Pods -o -name .git -o -name intermediates \) -prune \
    -o -type f -name "$pattern" -size "$((size))c" -print 2>/dev/null | while IFS= read -r path; do
    if cmp -s "$1" "$path"; then
      printf '%s\n' "$path"
      break
    fi
  done
}

# Moves what is in an archive of the engine to the artifacts. A bundle of macOS, such as an app, is one thing
# there, so it stays an archive.
unpack_copy() { # ARCHIVE
  local folder=$expo_home/unpacked path
  rm -rf "$folder" && mkdir -p "$folder" && tar -xzf "$1" -C "$folder" && rm -f "$1" || return
  find "$folder" -mindepth 1 \
    \( -type d \( -name '*.app' -o -name '*.dSYM' -o -name '*.xcarchive' -o -name '*.xcresult' -o -name '*.framework' -o -name '*.xcframework' \) -print -prune \) \
    -o -type f -print | while IFS= read -r path; do printf '%s\n' "${path#"$folder"/}"; done >"$expo_home/unpacked.list"
  while IFS= read -r path; do collect "$folder/$path" "$path"; done <"$expo_home/unpacked.list"
  rm -rf "$folder" "$expo_home/unpacked.list"
}

name_copies() {
  local copy original name
  for copy in "$artifacts"/build-[0-9]*; do
    [ -f "$copy" ] || continue
    case $copy in
      *.tar.gz) unpack_copy "$copy" ;;
      *)
        original=$(find_original "$copy")
        name=${original##*/}
        if [ -z "$name" ] || [ -e "$artifacts/$name" ]; then continue; fi
        mv "$copy" "$artifacts/$name"
        ;;
    esac
  done
}

# gym also makes a zip of all symbols beside the .ipa, which would be the same again.
collect_symbols() {
  local path
  find "$HOME/Library/Developer/Xcode/Archives" "$engine_work/build" \( -name node_modules -o -name Pods \) -prune \
    -o -type d -name '*.dSYM' -newer "$expo_home/began" -print -prune 2>/dev/null >"$expo_home/found"
  while IFS= read -r path; do collect "$path" "${path##*/}"; done <"$expo_home/found"
}

# Only React Native's own names: a project may have other files of that kind by the thousand.
collect_source_maps() {
  local path
  find "$engine_work/build" "$engine_tmp" \( -name node_modules -o -name Pods \) -prune \
    -o -type f \( -name main.jsbundle.map -o -name index.android.bundle.map \) -print 2>/dev/null >"$expo_home/found"
  while IFS= read -r path; do collect "$path" "${path##*/}"; done <"$expo_home/found"
}

# The result bundle is compressed, so its texts cannot be masked.
collect_xcode_logs() {
  local path logs=$expo_home/xcode-logs
  rm -rf "$logs" && mkdir -p "$logs" || return
  find "$engine_work/logs" "$HOME/Library/Logs/gym" -type f -newer "$expo_home/began" -exec cp {} "$logs" \; 2>/dev/null
  set -- "$logs"/*
  if [ -f "$1" ]; then mask_files "$@" && collect "$logs" xcode-logs; fi
  rm -rf "$logs"
  for path in "$engine_tmp"/*.xcresult; do [ ! -d "$path" ] || collect "$path" "${path##*/}"; done
}

collect_artifacts() { # EXIT-CODE
  [ -d "$artifacts" ] || return 0
  name_copies
  [ "$platform" != ios ] || collect_symbols
  collect_source_maps
  if [ "$1" -ne 0 ] && [ "$platform" = ios ]; then collect_xcode_logs; fi
  rm -f "$expo_home/found"
  rmdir "$artifacts" 2>/dev/null
  return 0
}

# Puts what the engine has built in the place of the source, so that the globs of the request see it. The
# engine writes the keystore and its passwords into the project.
give_back_source() {
  local built=$engine_work/build
  [ -f "$built/$app_root/package.json" ] || return 0
  rm -f "$built"/keystore-????????-????-????-????-???????????? "$built/credentials.json"
  cd "$state" || return
  rm -rf "$built/tartbeat-artifacts"
  [ ! -d "$artifacts" ] || mv "$artifacts" "$built/tartbeat-artifacts" || return
  mv source "$expo_home/source" && mv "$built" source && rm -rf "$expo_home/source"
}
