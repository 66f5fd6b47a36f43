# shellcheck shell=bash
# Has run_plugin, which builds a profile with Expo's own local build engine, eas-cli-local-build-plugin. The
# engine needs no account, no token and no git repository. expo.sh sources this file; it does nothing by
# itself.
#
# The engine gets the job in one environment variable, because it reads it nowhere else. It removes the
# variable before it starts any tool. Its exit code is 1 for every kind of failure, so the last line here
# says which kind it was, where that can be told.
#
# Invariant: the job is in the environment of the engine's process alone, never in a file or an argument.
# shellcheck disable=SC2154 # expo.sh and the agent's script set the variables

# The image has this version (vm-image/provision/versions.sh). The agent makes jobs for it.
readonly engine_package=eas-cli-local-build-plugin engine_version=24.7.0

# Linux refuses one variable of 128 KiB. macOS has 1 MiB for all arguments and variables of a process, and the
# other variables of a build need room too.
job_most=131000
[ "$(uname -s)" != Darwin ] || job_most=700000
readonly job_most

# Ends the engine after its last line. It does not end by itself if it has read Xcode's log too late: it then
# follows the log for ever (build-tools/common/xcpretty.js). A failed build ends by itself.
readonly engine_end='data:text/javascript,
  const print = { log: console.log, error: console.error };
  let isBuilt = false;
  for (const name of ["log", "error"])
    console[name] = (...words) => {
      print[name](...words);
      const line = String(words[0]);
      if (line.includes("Build successful")) isBuilt = true;
      if (isBuilt && line.includes("Skipping cleanup, ")) setTimeout(() => process.exit(0), 5000).unref();
    };
'

version_in() { # FOLDER
  LC_ALL=C sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$1/package.json" 2>/dev/null | head -n 1
}

# Sets engine_folder. An image that was made before the engine was part of it gets the engine from npm.
find_engine() {
  local own=$HOME/.tartbeat/engine began=$SECONDS there
  engine_folder=$root/opt/homebrew/lib/node_modules/$engine_package
  there=$(version_in "$engine_folder")
  [ "$there" != "$engine_version" ] || return 0
  engine_folder=$own/node_modules/$engine_package
  [ "$(version_in "$engine_folder")" != "$engine_version" ] || return 0
  if [ -n "$there" ]; then say "This image has version $there of $engine_package, and $engine_version is needed."; fi
  if ! mkdir -p "$own" || ! printf '{"private":true}\n' >"$own/package.json" ||
    ! npm install --prefix "$own" --no-audit --no-fund --loglevel=error "$engine_package@$engine_version"; then
    say "A tool is missing: $engine_package@$engine_version is not in this image, and npm could not install it. Make the image again with \`expo-worker base-image --force\`."
    return 1
  fi
  say "Installed $engine_package@$engine_version from npm in $((SECONDS - began)) s. To have it in the image, run \`expo-worker base-image --force\` on the Mac."
}

# The engine refuses a working folder with anything in it, and fails after a success if it is a mount point.
make_engine_folders() {
  if [ -L "$expo_home" ] || [ -L "$engine_work" ] || is_mount_point "$expo_home" || is_mount_point "$engine_work"; then
    say "The engine's working folder $engine_work is a link or a mount point, and the engine would fail there. Make the image again without it."
    return 1
  fi
  # A build that was killed in a VM that was kept has left them.
  if ! rm -rf "$engine_work" "$engine_tmp" "$project_archive"; then
    say "The engine's working folder $engine_work has files of an earlier build that cannot be deleted. Build in a new VM."
    return 1
  fi
  mkdir -p "$expo_home/bin" && mkdir -m 700 "$engine_tmp" || return
  # macOS 26 and 27 find no identity where there is one; security.sh answers that one call.
  if [ "$(uname -s)" = Darwin ] && [ -x "$guest/security.sh" ]; then ln -sf "$guest/security.sh" "$expo_home/bin/security"; fi
}

# The engine deletes the archive that it is given, so it gets one of its own. Dependencies that were installed
# to read the app config stay out.
pack_project() {
  pack_source "$project_archive" "${workflow-}" "${ask_number}${ask_target-}" || {
    say 'The source could not be packed for the engine. Is the disk of the VM full?'
    return 1
  }
}

# Sets build_target to the name of the target that prebuild will make, as the Expo of the project computes it.
# Only an app config that is a program makes this necessary.
find_target() {
  local printed=$state/app-config
  build_target=$(
    umask 077
    cd "$state/source/$app_root" && as_in_engine expo_config >"$printed" && node -e '
      const { readFileSync } = require("node:fs");
      const parsed = (text) => { try { return JSON.parse(text); } catch { return null; } };
      const text = readFileSync(process.argv[1], "utf8");
      const config = [text, ...text.split("\n").reverse()].map(parsed).find((one) => one && typeof one === "object");
      const name = (config.exp ?? config).name;
      const plain = (text) => text.replace(/[\W_]+/g, "") || "app";
      let own = null;
      try { own = require(require.resolve("expo/config-plugins", { paths: [process.cwd()] })); } catch {}
      console.log(own?.IOSConfig?.XcodeUtils?.sanitizedName?.(name) ?? plain(name));
    ' "$printed"
  ) || build_target=
  rm -f "$printed"
  [ -z "$build_target" ] || return 0
  say "The name of the app could not be read from the app config in $app_root, so its certificate cannot be assigned. Run \`npx expo config\` there to see why."
  return 1
}

# Prints the job as the engine reads it. project.sh sets the number if the VM had to ask for it. sed is quick
# with long texts, where bash 3.2 needs minutes.
encode_job() {
  printf '%s' "$job" | LC_ALL=C sed -e "s|\"@ARCHIVE@\"|\"$project_archive\"|g" -e "s|\"@NUMBER@\"|\"${build_number-}\"|g" \
    -e "s|\"@TARGET@\"|\"${build_target-}\"|g" |
    base64 | tr -d '\n'
}

# Says why the engine failed, if it failed before its first phase. Otherwise the agent finds the phase in the
# log. The text may end within a character, which sed and grep of macOS refuse where the locale is UTF-8.
explain_exit() { # FIRST-BYTE
  local said tool
  said=$(tail -c "+$1" "$log" 2>/dev/null | head -c 65536)
  case $said in *'[SETUP_WORKINGDIR]'*) return ;; esac
  tool=$(printf '%s\n' "$said" | LC_ALL=C sed -n "s/^\(.*\) is not available, make sure it's installed and in your PATH.*/\1/p" | head -n 1)
  if [ -n "$tool" ]; then
    say "A tool is missing: $tool."
    return
  fi
  case $said in
    *'Job object has incorrect format'*)
      said=$(printf '%s\n' "$said" | LC_ALL=C grep -vE '^(Currently using |Job object has incorrect format|$)' | head -n 1)
      say "The engine refused the job: ${said:-it gave no reason}"
      ;;
    *) say 'The engine ended before its first phase. The lines above say why.' ;;
  esac
}

start_engine() { # INPUT
  (
    unset EAS_LOCAL_BUILD_ARTIFACT_PATH EAS_LOCAL_BUILD_SKIP_NATIVE_BUILD EXPO_TOKEN
    export PATH="$expo_home/bin:$PATH" TMPDIR="$engine_tmp"
    export __API_SERVER_URL=http://127.0.0.1:1 EXPO_NO_TELEMETRY=1
    export EAS_BUILD_DISABLE_EXPO_DOCTOR_STEP="${EAS_BUILD_DISABLE_EXPO_DOCTOR_STEP:-1}"
    export EAS_LOCAL_BUILD_WORKINGDIR="$engine_work" EAS_LOCAL_BUILD_SKIP_CLEANUP=1
    export EAS_LOCAL_BUILD_ARTIFACTS_DIR="$state/source/tartbeat-artifacts" EAS_LOCAL_BUILD_LOGGER_LEVEL=debug
    export npm_config_audit=false npm_config_fund=false
    cd "$state" || exit 1
    export EAS_LOCAL_BUILD_PLUGIN_INPUT="$1"
    exec "$node" --import "$engine_end" "$engine_folder/bin/run"
  )
}

run_plugin() {
  local input first status node=$root/opt/homebrew/bin/node
  [ -z "${ask_target-}" ] || find_target || return 1
  find_engine && make_engine_folders && pack_project || return 1
  mkdir -p "$state/source/tartbeat-artifacts" || return
  input=$(encode_job) && [ -n "$input" ] || return 1
  if [ "${#input}" -gt "$job_most" ]; then
    say "The engine refused the job: it has ${#input} bytes, and at most $job_most can be handed over. Certificates and provisioning profiles need most of it as a rule: give only those of the targets that this build signs."
    return 1
  fi
  [ -x "$node" ] || node=node
  first=$(($(wc -c <"$log" 2>/dev/null || echo 0) + 1))
  run_masked "$input" start_engine "$input"
  status=$?
  [ "$status" -eq 0 ] || explain_exit "$first"
  # security.sh cannot print into the log, because the engine reads what it prints.
  if [ "$status" -ne 0 ] && [ -s "$expo_home/signing.log" ]; then
    while IFS= read -r line; do say "$line"; done <"$expo_home/signing.log"
  fi
  return "$status"
}
