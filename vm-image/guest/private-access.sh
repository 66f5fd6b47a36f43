# shellcheck shell=bash
# Has the functions that give a build access to private dependencies, and take it away again. expo.sh sources
# this file; it does nothing by itself.
#
#   lay_private_access      before anything is installed; fails with a sentence if a secret cannot be used
#   remove_private_access   at the end of the build, however it ends; needs nothing but $HOME, and can be
#                           repeated
#
# The build's script sets git_ssh_key, git_known_hosts, netrc and npmrc, which are empty where the secret is
# missing, and `tools` and `manager`. What lay_private_access exports names files, and holds no secret.
#
# Invariant: after remove_private_access no file has a byte of a secret, and ~/.netrc, ~/.npmrc and
# ~/.yarnrc.yml are what the image has.
# shellcheck disable=SC2154,SC2016 # set by the script of the build; messages have backticks

private_folder=$HOME/.tartbeat/expo/private
# The first Yarn that refuses git dependencies unless it is told which it may take. An older one refuses the
# variable that tells it.
private_yarn_approves=4.14

lay_private_access() {
  remove_private_access
  (umask 077 && mkdir -p "$private_folder/before") || return 1
  lay_git_access && lay_registry_access || return 1
  # npm 12 refuses git dependencies without this. Older ones do not read it.
  export npm_config_allow_git="${npm_config_allow_git:-all}"
  if yarn_approves; then export YARN_APPROVED_GIT_REPOSITORIES="${YARN_APPROVED_GIT_REPOSITORIES:-**}"; fi
}

# git and ssh never wait for an answer, because nobody is there to give one. pnpm 10 would let them.
lay_git_access() {
  export GIT_TERMINAL_PROMPT=0
  private_ssh="ssh -o BatchMode=yes"
  # The keys of the large forges, then the image's own lines, which may name more hosts.
  { grep -v '^#' "${BASH_SOURCE%/*}/known-hosts" && printf '%s\n' "$git_known_hosts"; } | LC_ALL=C tr -d '\r' \
    >"$private_folder/known_hosts" || return 1
  private_ssh="$private_ssh -o 'UserKnownHostsFile=$private_folder/known_hosts $HOME/.ssh/known_hosts'"
  if [ -n "$git_ssh_key" ]; then
    # ssh refuses a key without a newline at its end, which is easily lost when a key is stored.
    (umask 077 && printf '%s\n' "$git_ssh_key" | LC_ALL=C tr -d '\r' >"$private_folder/key") || return 1
    if ! ssh-keygen -y -P '' -f "$private_folder/key" >/dev/null 2>&1 </dev/null; then
      printf '[tartbeat] Private access: the secret GIT_SSH_KEY is not a private SSH key, or it has a %s\n' \
        'passphrase. Make one without: `ssh-keygen -t ed25519 -N "" -f key`, and store the file `key`.'
      return 1
    fi
    private_ssh="$private_ssh -i '$private_folder/key' -o IdentitiesOnly=yes"
    # Xcode's own git reads neither this key nor the variable below. These two make fastlane's xcodebuild use
    # the system's git.
    export GYM_USE_SYSTEM_SCM="${GYM_USE_SYSTEM_SCM:-true}" SCAN_USE_SYSTEM_SCM="${SCAN_USE_SYSTEM_SCM:-true}"
  fi
  export GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-$private_ssh}"
  # Bitbucket has moved, and old lock files still have its old name.
  rewrite_for_git ssh://git@ssh.bitbucket.org/ ssh://git@bitbucket.org/
  rewrite_for_git git@ssh.bitbucket.org: git@bitbucket.org:
}

rewrite_for_git() { # NEW OLD
  git_rule=${GIT_CONFIG_COUNT:-0}
  export "GIT_CONFIG_KEY_$git_rule=url.$1.insteadOf" "GIT_CONFIG_VALUE_$git_rule=$2"
  export GIT_CONFIG_COUNT=$((git_rule + 1))
}

# Only in the home folder do all managers replace ${VARIABLE} in a token. Of two lines with the same key npm
# takes the last, and in a .netrc the first counts.
lay_registry_access() {
  if [ -n "$netrc" ]; then
    keep_before .netrc && { printf '%s\n' "$netrc" | LC_ALL=C tr -d '\r' && image_has .netrc; } | lay_file .netrc || return 1
  fi
  [ -n "$npmrc" ] || return 0
  keep_before .npmrc && { image_has .npmrc && printf '\n%s\n' "$npmrc" | LC_ALL=C tr -d '\r'; } | lay_file .npmrc || return 1
  [ "$manager" = yarn ] || return 0
  # Yarn 2 and newer do not read .npmrc.
  keep_before .yarnrc.yml && yarn_form <"$HOME/.npmrc" | lay_file .yarnrc.yml || return 1
}

keep_before() { # FILE
  [ ! -e "$HOME/$1" ] || cp -p "$HOME/$1" "$private_folder/before/$1" || return
  : >"$private_folder/laid$1"
}

image_has() { # FILE
  [ ! -e "$private_folder/before/$1" ] || cat "$private_folder/before/$1"
}

lay_file() { # FILE
  (umask 077 && rm -f "$HOME/$1" && cat >"$HOME/$1")
}

# Turns the lines of an .npmrc into those of a .yarnrc.yml. A missing variable is an error for Yarn, so it is
# read as empty.
yarn_form() {
  awk 'function quoted(text) {
      gsub(/\\/, "\\\\", text)
      gsub(/"/, "\\\"", text)
      while (match(text, /\$\{[A-Za-z_0-9]+\}/))
        text = substr(text, 1, RSTART - 1) "\001" substr(text, RSTART + 2, RLENGTH - 3) "\002" substr(text, RSTART + RLENGTH)
      gsub(/\001/, "${", text)
      gsub(/\002/, ":-}", text)
      return "\"" text "\""
    }
    /^[ \t]*[#;]/ || !/=/ { next }
    {
      key = substr($0, 1, index($0, "=") - 1)
      value = substr($0, index($0, "=") + 1)
      gsub(/^[ \t]+|[ \t]+$/, "", key)
      gsub(/^[ \t"]+|[ \t"]+$/, "", value)
      place = key
      sub(/\/*:_auth(Token)?$/, "", place)
      if (key == "registry") registry = value
      else if (key ~ /^@[^:]+:registry$/) scopes[substr(key, 2, length(key) - 10)] = value
      else if (key ~ /:_authToken$/) tokens[place] = value
      else if (key ~ /:_auth$/) idents[place] = value
    }
    END {
      if (registry != "") print "npmRegistryServer: " quoted(registry)
      for (scope in scopes) {
        if (!scoped++) print "npmScopes:"
        print "  " quoted(scope) ":\n    npmRegistryServer: " quoted(scopes[scope]) "\n    npmAlwaysAuth: true"
      }
      for (place in tokens) {
        if (!placed++) print "npmRegistries:"
        print "  " quoted(place) ":\n    npmAlwaysAuth: true\n    npmAuthToken: " quoted(tokens[place])
      }
      for (place in idents) {
        if (place in tokens) continue
        if (!placed++) print "npmRegistries:"
        print "  " quoted(place) ":\n    npmAlwaysAuth: true\n    npmAuthIdent: " quoted(idents[place])
      }
    }'
}

# Succeeds if the build uses a Yarn that knows the list of git repositories that it may take.
yarn_approves() {
  printf '%s\n' "$tools" | awk -v first="$private_yarn_approves" '
    $1 == "yarn" {
      split($2, have, "[.+-]")
      split(first, want, ".")
      if (have[1] > want[1] || (have[1] == want[1] && (have[2] == "" || have[2] + 0 >= want[2] + 0))) known = 1
    }
    END { exit !known }'
}

remove_private_access() {
  [ -d "$private_folder" ] || return 0
  for private_file in .netrc .npmrc .yarnrc.yml; do
    [ -e "$private_folder/laid$private_file" ] || continue
    rm -f "$HOME/$private_file"
    [ ! -e "$private_folder/before/$private_file" ] || mv "$private_folder/before/$private_file" "$HOME/$private_file"
  done
  rm -rf "$private_folder"
}
