# shellcheck shell=bash
# Has the function that installs the tools that a project names, at the start of its build. expo.sh sources
# this file; it does nothing by itself.
#
# Everything comes from where the tool's own makers publish it: Node from nodejs.org, through mise, which
# checks its hash; npm, pnpm, Yarn and Bun from the npm registry, also through mise; CocoaPods, fastlane and
# Bundler from rubygems.org, through the gem command of the image. GitHub is not asked, because it limits how
# often a machine may ask it.
#
# Invariant: nothing that belongs to the project is read or run here. mise and the tools run in a folder of
# their own, so that no mise.toml, .npmrc or yarnPath of the project changes what is installed.
# shellcheck disable=SC2154,SC2016 # the script of the build sets `tools`; messages have backticks

# Installs the version of each line `NAME VERSION` of $tools, and puts it first on PATH for all that follows.
# A version may be the beginning of one, such as 22. Fails with a sentence at the first tool that cannot be
# had.
install_tools() {
  [ -n "$tools" ] || return 0
  tools_folder=$HOME/.tartbeat/expo/tools
  rm -rf "$tools_folder" && mkdir -p "$tools_folder/bin" || return 1
  while read -r tool_name tool_version; do
    [ -z "$tool_name" ] || install_tool "$tool_name" "$tool_version" || return 1
  done <<END
$tools
END
}

install_tool() { # NAME VERSION
  wanted=${2%%+*}
  checksum=
  case $2 in *+*) checksum=${2#*+} ;; esac
  case $1 in
    cocoapods) program=pod ;;
    bundler) program=bundle ;;
    *) program=$1 ;;
  esac
  if is_wanted "$(version_of "$program")"; then
    printf '[tartbeat] %s %s is in the image.\n' "$1" "$have"
    return 0
  fi
  printf '[tartbeat] Installing %s %s; the image has %s.\n' "$1" "$wanted" "${have:-none}"
  began=$(date +%s)
  : >"$tools_folder/output"
  case $1 in
    node) from_mise "node@$wanted" ;;
    npm | pnpm) from_registry "$1" ;;
    yarn) case $wanted in 1 | 1.*) from_registry yarn ;; *) from_registry @yarnpkg/cli-dist ;; esac ;;
    bun) from_registry "@oven/bun-$(bun_platform)" ;;
    cocoapods | fastlane | bundler) from_rubygems "$1" ;;
    *)
      printf '[tartbeat] Tartbeat cannot install %s.\n' "$1"
      return 1
      ;;
  esac || {
    tail -n 20 "$tools_folder/output"
    printf '[tartbeat] %s %s could not be installed. The lines above say why. %s\n' "$1" "$wanted" \
      'Check that this version exists and that the VM reaches the address.'
    return 1
  }
  [ -z "$checksum" ] || has_checksum "$1" || return 1
  if ! is_wanted "$(version_of "$program")"; then
    printf '[tartbeat] %s %s was installed, but `%s --version` says %s.\n' "$1" "$wanted" "$program" "${have:-nothing}"
    return 1
  fi
  printf '[tartbeat] Installed %s %s in %s s.\n' "$1" "$have" "$(($(date +%s) - began))"
}

# Sets `have`, which is empty for a program that is not there.
is_wanted() { # VERSION
  have=$1
  case $have in "$wanted" | "$wanted".*) return 0 ;; esac
  return 1
}

# Some programs print other lines first, so the last version that they print counts.
version_of() { # PROGRAM
  (cd "$tools_folder" && FASTLANE_SKIP_UPDATE_CHECK=1 CI=1 "$1" --version 2>/dev/null </dev/null) |
    LC_ALL=C sed -n 's/^[^0-9]*\([0-9][0-9]*\.[0-9][-.0-9A-Za-z]*\).*$/\1/p' | tail -n 1
}

# MISE_SAFE forbids that a file of settings runs code. MISE_NPM_SHELL_OUT lets mise call npm, because its own
# installer waits a day before it takes a new release, and needs dates that not every registry has.
run_mise() {
  (cd "$tools_folder" && MISE_YES=1 MISE_SAFE=1 MISE_NO_CONFIG=1 MISE_CEILING_PATHS=$tools_folder \
    MISE_IDIOMATIC_VERSION_FILE_ENABLE_TOOLS='' MISE_NPM_SHELL_OUT=1 MISE_USE_VERSIONS_HOST=0 \
    MISE_NODE_COMPILE=0 NO_COLOR=1 npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false \
    mise "$@" </dev/null)
}

# Installs a tool and sets `installed` to its folder.
install_with_mise() { # TOOL@VERSION
  if ! command -v mise >/dev/null 2>&1; then
    printf '%s\n' 'This image has no mise, which installs such versions. Run `expo-worker base-image --force`' \
      'on the Mac, which adds it, or ask for the version that the image has.' >>"$tools_folder/output"
    return 1
  fi
  run_mise install "$1" >>"$tools_folder/output" 2>&1 &&
    installed=$(run_mise where "$1" 2>>"$tools_folder/output") && [ -d "$installed" ]
}

from_mise() { # TOOL@VERSION
  install_with_mise "$1" && put_first "$installed/bin"
}

# A package of Bun for one platform has the program itself. The package `bun` has only a script that fetches
# it, which npm 12 does not run.
from_registry() { # PACKAGE
  install_with_mise "npm:$1@$wanted" || return
  case $1 in
    @oven/*)
      chmod +x "$installed/lib/node_modules/$1/bin/bun" && ln -sf "$installed/lib/node_modules/$1/bin/bun" "$tools_folder/bin/bun" &&
        ln -sf bun "$tools_folder/bin/bunx" && put_first "$tools_folder/bin"
      ;;
    *) put_first "$installed/bin" ;;
  esac
}

bun_platform() {
  case $(uname -s)-$(uname -m) in
    Darwin-arm64) echo darwin-aarch64 ;;
    Darwin-*) echo darwin-x64 ;;
    Linux-aarch64) echo linux-aarch64 ;;
    *) echo linux-x64 ;;
  esac
}

# The image may have a newer release of the gem as well. `_VERSION_` as the first argument is how RubyGems'
# own programs choose one.
from_rubygems() { # GEM
  gem install --no-document --user-install --force --bindir "$tools_folder/gems" --version "$wanted" "$1" \
    </dev/null >>"$tools_folder/output" 2>&1 || return
  [ -x "$tools_folder/gems/$program" ] || return
  printf '#!/bin/sh\nexec "%s" _%s_ "$@"\n' "$tools_folder/gems/$program" "$wanted" >"$tools_folder/bin/$program" &&
    chmod 755 "$tools_folder/bin/$program" && put_first "$tools_folder/bin"
}

put_first() { # FOLDER
  PATH=$1:$PATH
  export PATH
  hash -r
}

# Compares with the checksum that `packageManager` has, as Corepack writes it: that of the package's archive,
# and for Yarn 2 and newer that of the one file which it consists of.
has_checksum() { # NAME
  kind=${checksum%%.*}
  case $1:$wanted in
    yarn:1.* | pnpm:* | npm:*)
      rm -f "$tools_folder"/*.tgz
      (cd "$tools_folder" && npm pack --silent "$1@$wanted" </dev/null >/dev/null 2>>output) || return
      set -- "$1" "$tools_folder"/*.tgz
      ;;
    yarn:*) set -- "$1" "$installed/lib/node_modules/@yarnpkg/cli-dist/bin/yarn.js" ;;
    *) return 0 ;;
  esac
  seen=$(openssl dgst "-$kind" "$2" 2>/dev/null | LC_ALL=C sed 's/^.*= *//')
  [ "$kind.$seen" != "$checksum" ] || return 0
  printf '[tartbeat] %s %s is not the one that `packageManager` in package.json names. Its %s is %s, not %s.\n' \
    "$1" "$wanted" "$kind" "${seen:-unknown}" "${checksum#*.}"
  return 1
}
