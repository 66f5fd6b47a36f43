# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154 # programs for node are in quotes; expo.sh sets the variables
# shellcheck disable=SC2030,SC2031 # only the processes that are started here get these variables
# Has run_eas, which builds a profile with `eas build --local`, for the profiles that need something of Expo:
# credentials that Expo keeps, or an environment. expo.sh sources this file; it does nothing by itself.
#
# eas-cli asks Expo for credentials, variables and build numbers, makes the job, and starts the engine. It
# finds a program of ours in the place of the engine, which packs the source and starts the engine of the
# image.
#
# Invariant: eas-cli never waits for an answer. Its standard input is closed and `--non-interactive` is given.
# Invariant: the engine gets every file of the source. eas-cli's own archive has neither the files that
# .gitignore or .easignore names, secret files with a place among them, nor the folder .git.

# eas-cli asks npm for its newest version if it has not done so for 60 days, which is always in a new VM. It
# does so in a process that leaves the process group. No variable turns that off, but a fresh answer does.
lay_eas_cache() {
  mkdir -p "$expo_home/eas-cache" && printf '{"latest":"0.0.0"}' >"$expo_home/eas-cache/version"
}

# Writes the program that eas-cli starts as the engine.
write_engine_starter() { # FILE NODE
  local name
  {
    printf '#!/bin/bash\nlog_began=%d\n' "$(($(wc -c <"$log" 2>/dev/null || echo 0) + 1))"
    for name in state root log app_root platform expo_home engine_work engine_tmp engine_folder engine_end; do
      printf '%s=%q\n' "$name" "${!name}"
    done
    printf 'node=%q\n' "$2"
    for name in pack masking engine-eas; do printf '. %q\n' "$guest/$name.sh"; done
    echo start_engine_for_eas
  } >"$1" && chmod 700 "$1"
}

# Returns with the exit code of eas-cli, which is 1 for every failure of the engine. Without
# --freeze-credentials it could make new profiles at Expo and Apple. It still makes a keystore for Android if
# Expo has none, as it does before a build in the cloud.
run_eas() {
  local starter=$expo_home/engine-for-eas node=$root/opt/homebrew/bin/node eas=$root/opt/homebrew/bin/eas
  local status=0 line
  [ -x "$node" ] || node=$(command -v node)
  [ -x "$eas" ] || eas=$(command -v eas)
  if [ -z "$node" ] || [ -z "$eas" ]; then
    say 'A tool is missing: eas-cli is not in this image. Make the image again with `expo-worker base-image --force`.'
    return 1
  fi
  find_engine && make_engine_folders || return 1
  if ! lay_eas_cache || ! write_engine_starter "$starter" "$node"; then
    say "Files in $expo_home could not be written. Is the disk of the VM full?"
    return 1
  fi
  say "eas-cli makes the job for the profile $profile. It asks Expo for what the profile needs."
  (
    cd "$state/source/$app_root" || exit 1
    eval "$secret_env"
    unset EAS_LOCAL_BUILD_ARTIFACT_PATH EAS_LOCAL_BUILD_SKIP_NATIVE_BUILD
    export EXPO_TOKEN="$expo_token" TMPDIR="$engine_tmp" EAS_CACHE_DIR="$expo_home/eas-cache"
    EAS_PROJECT_ROOT=$(cd "$state/source" && pwd -P) || exit 1
    export EAS_NO_VCS=1 EAS_PROJECT_ROOT EAS_LOCAL_BUILD_PLUGIN_PATH="$starter"
    # The image has one eas-cli, whatever `cli.version` asks for.
    export EAS_SKIP_CLI_VERSION_CHECK=1 EAS_SKIP_AUTO_FINGERPRINT=1
    export DISABLE_EAS_ANALYTICS=1 EXPO_NO_TELEMETRY=1
    exec "$node" "$eas" build --local --non-interactive --freeze-credentials \
      --platform "$platform" --profile "$profile" </dev/null
  ) || status=$?
  # security.sh cannot print into the log, because the engine reads what it prints.
  if [ "$status" -ne 0 ] && [ -s "$expo_home/signing.log" ]; then
    while IFS= read -r line; do say "$line"; done <"$expo_home/signing.log"
  fi
  return "$status"
}

# Prints the archive of the job, its type, and the input of the engine with the commit in it. Without a git
# repository eas-cli does not know the commit, and the engine would take the variable away.
read_input_of_eas() {
  "$node" -e '
    const input = JSON.parse(Buffer.from(process.env.EAS_LOCAL_BUILD_PLUGIN_INPUT, "base64").toString("utf8"));
    const commit = process.env.EAS_BUILD_GIT_COMMIT_HASH ?? "";
    if (/^[0-9a-f]{40}$/.test(commit)) input.metadata.gitCommitHash ??= commit;
    console.log(input.job.projectArchive.path);
    console.log(input.job.type);
    console.log(Buffer.from(JSON.stringify(input)).toString("base64"));
  '
}

# eas-cli goes on without the variables of the environment if Expo does not send them. The app would be built,
# and would not work.
check_environment_came() {
  tail -c "+$log_began" "$log" 2>/dev/null | LC_ALL=C grep -q '^Failed to pull env variables for environment ' || return 0
  say 'Expo did not send the variables of the environment, so the build ends here. The app would lack them.' \
    'The lines above have the reason.'
  return 1
}

# eas-cli starts this as the engine, in a process of its own.
start_engine_for_eas() {
  local archive='' type='' input=''
  say() { printf '[tartbeat] %s\n' "$*"; }
  check_environment_came || exit 1
  {
    read -r archive
    read -r type
    read -r input
  } < <(read_input_of_eas)
  # eas-cli may have raised a number in app.json. The dependencies were installed for eas-cli.
  if [ -z "$input" ] || ! pack_source "$archive" "$type" without-modules || ! keep_texts_of_expo "$input"; then
    say 'The source could not be packed for the engine. Is the disk of the VM full?'
    exit 1
  fi
  say 'The engine gets all files of the source, also those that .gitignore or .easignore names.'
  # Xcode prints the environment into its logs. The scripts of the project have no use for the token.
  unset EAS_NO_VCS EAS_PROJECT_ROOT EAS_LOCAL_BUILD_PLUGIN_PATH EAS_CACHE_DIR
  unset EAS_LOCAL_BUILD_PLUGIN_INPUT EAS_SKIP_CLI_VERSION_CHECK EAS_SKIP_AUTO_FINGERPRINT DISABLE_EAS_ANALYTICS EXPO_TOKEN
  export PATH="$expo_home/bin:$PATH" TMPDIR="$engine_tmp"
  export __API_SERVER_URL=http://127.0.0.1:1 EXPO_NO_TELEMETRY=1
  export EAS_BUILD_DISABLE_EXPO_DOCTOR_STEP="${EAS_BUILD_DISABLE_EXPO_DOCTOR_STEP:-1}"
  export EAS_LOCAL_BUILD_WORKINGDIR="$engine_work" EAS_LOCAL_BUILD_SKIP_CLEANUP=1
  export EAS_LOCAL_BUILD_ARTIFACTS_DIR="$state/source/tartbeat-artifacts" EAS_LOCAL_BUILD_LOGGER_LEVEL=debug
  export npm_config_audit=false npm_config_fund=false
  run_masked "$input" run_engine "$input"
  exit
}

# The input is in the environment of this process alone.
run_engine() { # INPUT
  EAS_LOCAL_BUILD_PLUGIN_INPUT=$1 "$node" --import "$engine_end" "$engine_folder/bin/run"
}

# eas-cli leaves nothing secret outside of TMPDIR, which expo-leftovers.sh removes.
remove_eas_leftovers() {
  rm -rf "$expo_home/engine-for-eas" "$expo_home/eas-cache"
}
