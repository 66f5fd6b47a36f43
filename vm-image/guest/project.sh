# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154 # programs for node are in quotes; the agent's script sets the variables
# Has the functions that install the dependencies of an Expo project, read its app config, and wait for the
# number of the build. expo.sh sources this file; it does nothing by itself.
#
# The plugin engine installs the dependencies itself. They are installed here before eas-cli starts, and
# before an app config that is a program is read, because both load packages of the project.
#
# Invariant: each function returns with 0, or it has printed a sentence with the reason and the fix.

# How long the build waits for its number. The agent looks for app.json every few seconds and asks the
# controller, which may be out of reach for a while.
number_wait_seconds=300

# Names a folder of the source in a sentence.
folder_name() { # FOLDER
  if [ "$1" = . ]; then printf 'the root of the source'; else printf '%s' "$1"; fi
}

# Prints the variables of the job as lines of shell. The secrets win, as in the engine. The engine `eas` has
# no job yet.
job_environment() {
  [ -n "$job" ] || return 0
  printf '%s' "$job" | node -e '
    const { job } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    const secrets = (job.secrets?.environmentSecrets ?? []).map(({ name, value }) => [name, value]);
    for (const [name, value] of Object.entries({ ...job.builderEnvironment?.env, ...Object.fromEntries(secrets) }))
      if (/^[A-Za-z_]\w*$/.test(name))
        console.log(`export ${name}=\u0027${String(value).replaceAll("\u0027", "\u0027\\\u0027\u0027")}\u0027`);
  '
}

# Exports what eas-build-pre-install has set with the program set-env, as the engine does.
export_set_env() {
  local file name
  for file in "$HOME/.tartbeat/expo/set-env/values"/*; do
    name=${file##*/}
    case $name in '*' | *[!A-Za-z_0-9]*) ;; *) export "$name=$(cat "$file")" ;; esac
  done
}

# Runs a command of the project with the variables that it will have in the engine. An app.config.js often
# looks at EAS_BUILD_PROFILE, and an .npmrc at a token.
as_in_engine() { # COMMAND …
  (
    variables=$(job_environment) || exit 1
    eval "$secret_env"
    eval "$variables"
    unset variables
    export_set_env
    export EAS_BUILD=1 EAS_BUILD_RUNNER=local-build-plugin
    export EAS_BUILD_PLATFORM="$platform" EAS_BUILD_PROFILE="$profile"
    export EXPO_NO_TELEMETRY=1 npm_config_audit=false npm_config_fund=false
    "$@"
  )
}

# The engine has a program set-env on the PATH of the project's scripts.
lay_set_env() {
  local folder=$HOME/.tartbeat/expo/set-env
  (
    umask 077
    rm -rf "$folder" && mkdir -p "$folder/bin" "$folder/values" &&
      printf '#!/bin/bash\n[ -n "$1" ] && printf %%s "$2" >%q/"$1"\n' "$folder/values" >"$folder/bin/set-env" &&
      chmod 700 "$folder/bin/set-env"
  )
}

# Runs the script of the project that often writes an .npmrc for the install, if there is one. The engine
# takes npm where the project has Yarn. Before eas-cli has run, the variables of the profile and of Expo are
# not known, so a failure there need not be one in the engine.
run_pre_install() {
  local runner=$manager status=0
  [ "$runner" != yarn ] || runner=npm
  node -e '
    const { scripts } = JSON.parse(require("node:fs").readFileSync("package.json", "utf8"));
    process.exit(scripts?.["eas-build-pre-install"] ? 0 : 1);
  ' 2>/dev/null || return 0
  say 'The script eas-build-pre-install runs now, before the dependencies are installed.' \
    'The engine installs them anew, and runs it again before that.'
  lay_set_env || return 1
  PATH="$HOME/.tartbeat/expo/set-env/bin:$PATH" as_in_engine "$runner" run eas-build-pre-install </dev/null || status=$?
  [ "$status" -ne 0 ] || return 0
  if [ "${engine-}" = eas ]; then
    say "The script ended with exit code $status. It may need variables that only eas-cli gets, so the build goes on."
    return 0
  fi
  say "The script eas-build-pre-install in package.json of $(folder_name "$app_root") ended with exit code $status." \
    'The lines above have the reason.'
  return 1
}

install_dependencies() {
  local words status=0
  (cd "$state/source/$app_root" && run_pre_install) || return 1
  read -r -a words <<<"$manager_install"
  say "Dependencies are installed in $(folder_name "$workspace_root"): $manager_install"
  (
    cd "$state/source/$workspace_root" && as_in_engine "${words[@]}" </dev/null
  ) || status=$?
  [ "$status" -ne 0 ] || return 0
  say "The dependencies could not be installed: \`$manager_install\` ended with exit code $status." \
    "The lines above have the reason."
  return 1
}

# Runs the Expo CLI of the project, as the engine does. A monorepo may have it in a folder above.
expo_config() {
  local cli
  cli=$(node -p 'require.resolve("expo/bin/cli", { paths: [process.cwd()] })' 2>/dev/null) || return 66
  node "$cli" config --json --full --type public </dev/null
}

# Writes {id, version, buildNumber} for the agent. app.config.js may print lines of its own, so the config is
# the last line that is an object.
read_app_config() {
  local folder status=0 printed="$state/app-config"
  folder=$(folder_name "$app_root")
  say "The app config is read in $folder."
  (
    umask 077
    cd "$state/source/$app_root" && as_in_engine expo_config >"$printed"
  ) || status=$?
  case "$status" in
    0) ;;
    66)
      say "The package \`expo\` is not installed in $folder, so the app config cannot be read." \
        "Add \`expo\` to the dependencies of its package.json."
      return 1
      ;;
    *)
      rm -f "$printed"
      say "The app config in $folder could not be read: \`expo config\` ended with exit code $status." \
        "Run \`npx expo config\` there to see the same."
      return 1
      ;;
  esac
  node -e '
    const fs = require("node:fs");
    const [printed, answer, platform, folder] = process.argv.slice(1);
    const stop = (why) => { console.log(`[tartbeat] ${why}`); process.exit(1); };
    const parsed = (text) => { try { return JSON.parse(text); } catch { return null; } };
    const text = fs.readFileSync(printed, "utf8");
    const config = [text, ...text.split("\n").reverse()].map(parsed).find((one) => one && typeof one === "object");
    if (!config) stop(`\`expo config\` printed no app config in ${folder}. Run \`npx expo config --json\` there.`);
    const app = config.exp ?? config;
    const [field, id, number] = platform === "ios"
      ? ["ios.bundleIdentifier", app.ios?.bundleIdentifier, app.ios?.buildNumber]
      : ["android.package", app.android?.package, app.android?.versionCode];
    if (typeof id !== "string" || id === "")
      stop(`The app config in ${folder} has no ${field}. Add it, because each app has its own build numbers.`);
    const whole = /^[0-9]{1,15}$/.test(String(number ?? "")) ? Number(number) : null;
    fs.writeFileSync(`${answer}.tmp`, JSON.stringify({ id, version: app.version ?? null, buildNumber: whole }));
    fs.renameSync(`${answer}.tmp`, answer);
    console.log(`[tartbeat] The app is ${id}, version ${app.version ?? "1.0.0"}.`);
  ' "$printed" "$state/app.json" "$platform" "$folder" || status=1
  rm -f "$printed"
  return "$status"
}

# Sets build_number to what the agent writes into $state/number, and exports it for the scripts of the
# project.
ask_number() {
  local end=$((SECONDS + number_wait_seconds))
  build_number=
  say "The build waits for its number from the controller."
  until [ -s "$state/number" ]; do
    if [ "$SECONDS" -ge "$end" ]; then
      say "No build number came within $((number_wait_seconds / 60)) minutes, so the build ends here." \
        "The agent or the controller could not be reached in that time. Submit the build again."
      return 1
    fi
    sleep 0.2
  done
  build_number=$(cat "$state/number")
  case "$build_number" in
    '' | *[!0-9]*)
      say "The agent answered with \`$build_number\`, which is no build number. This is an error in Tartbeat."
      return 1
      ;;
  esac
  export TARTBEAT_BUILD_NUMBER="$build_number"
  say "The number of this build is $build_number."
}
