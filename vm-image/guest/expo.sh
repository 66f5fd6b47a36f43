# shellcheck shell=bash
# Builds one profile of an Expo project's eas.json. The script that the agent starts with build.sh sets the
# variables below, without exporting them, and then sources this file in $TARTBEAT_STATE/source.
#
#   platform profile app_root workspace_root workflow engine manager manager_install tools job ask_number
#   ask_target notes secret_env git_ssh_key git_known_hosts netrc npmrc expo_token
#
# Invariant: when the build has ended, or TERM has stopped it, none of its processes is left, and no file with
# a secret that this script or the engine wrote. Only KILL can prevent that; inputs.sh removes the rest then.
# shellcheck disable=SC2154 # the agent's script sets the variables
guest=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=vm-image/guest/lib.sh
. "$guest/lib.sh"
state=$TARTBEAT_STATE
for part in private-access toolchain project pack masking engine-plugin engine-eas expo-artifacts expo-leftovers; do
  # shellcheck disable=SC1090 # one of the files beside this one
  . "$guest/$part.sh" || exit 1
done

say() { printf '[tartbeat] %s\n' "$*"; }

# Does everything up to the end of the engine, in a child of the script. So the script itself only waits, and
# hears TERM at once.
build_profile() {
  [ -z "$notes" ] || printf '%s\n' "$notes" | while IFS= read -r line; do say "$line"; done
  lay_private_access && install_tools || return
  # eas-cli loads the config plugins of the project, and so does an app config that is a program.
  if [ "$engine" = eas ] || [ -n "$ask_number${ask_target-}" ]; then install_dependencies || return; fi
  if [ -n "$ask_number" ]; then read_app_config && ask_number || return; fi
  case $engine in
    plugin) run_plugin ;;
    eas) run_eas ;;
    *) say "There is no engine '$engine'." && return 1 ;;
  esac
}

# shellcheck disable=SC2317 # the trap calls it
stop_build() {
  trap '' TERM INT HUP
  say 'The engine was stopped.'
  end_processes
  remove_leftovers
  exit 143
}

mkdir -p "$expo_home" && touch "$expo_home/began" || exit 1
trap stop_build TERM INT HUP
build_profile &
wait $!
code=$?
end_processes
collect_artifacts "$code"
give_back_source
remove_leftovers
exit "$code"
