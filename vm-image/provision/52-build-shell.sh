#!/bin/sh
# Sets up the login bash of builds: it finds Homebrew's tools before macOS's, and has a UTF-8 locale, which
# CocoaPods needs.
# shellcheck source=vm-image/provision/lib.sh
. "${0%"${0##*/}"}./lib.sh"

title='A build finds its tools'
find_home
profile=$home/.bash_profile
line=". $share/build-environment.sh"

check() {
  # Takes only the last three lines, because a profile may print other lines first.
  # shellcheck disable=SC2016 # for the build's shell
  environment=$(as_build 'printf "\n%s\n%s\n%s\n" "$LANG" "$PATH" "${NODE_EXTRA_CA_CERTS:-}"' 2>/dev/null | tail -n 3)
  authorities=${environment##*
}
  path=${environment#*
}
  path=${path%%
*}
  lang=${environment%%
*}
  case :$path: in
    *:"$brew_prefix/bin":*)
      case $lang in
        *UTF-8)
          if [ -e "$share/authorities/own.pem" ] && [ "$authorities" != "$share/authorities/own.pem" ]; then
            missing "NODE_EXTRA_CA_CERTS is '$authorities' in a login bash, not $share/authorities/own.pem"
          else
            found "$lang, Homebrew on the PATH of a login bash"
          fi
          ;;
        *) missing "LANG is '${lang}' in a login bash, not UTF-8" ;;
      esac
      ;;
    *) missing "$brew_prefix/bin is not on the PATH of a login bash" ;;
  esac
}

# bash reads only one profile. A new .bash_profile therefore reads the old .profile, if there is one.
apply() {
  # shellcheck disable=SC2016 # for the inner shell
  attempt as_user sh -c '
    umask 022
    [ -e "$1" ] || [ ! -e "${1%/*}/.profile" ] || printf "%s\n" ". ~/.profile" >"$1"
    grep -qxF -- "$2" "$1" 2>/dev/null || printf "%s\n" "$2" >>"$1"' sh "$profile" "$line"
}

step "$@"
