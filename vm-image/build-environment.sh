# shellcheck shell=sh
# What every build finds in its environment. The ~/.bash_profile of the build's account reads it; see
# 52-build-shell.sh. macOS's own PATH has Ruby 2.6 first, and SSH sets no locale: CocoaPods fails without
# UTF-8.
export LANG=en_US.UTF-8 LC_ALL=en_US.UTF-8
export HOMEBREW_NO_AUTO_UPDATE=1 HOMEBREW_NO_ANALYTICS=1
PATH=$(
  # shellcheck source=vm-image/provision/versions.sh
  . "${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/provision/versions.sh"
  brew=${TARTBEAT_ROOT:-}/opt/homebrew
  printf '%s' "$brew/opt/$RUBY_FORMULA/bin:$brew/bin:$brew/sbin:$PATH"
)
export PATH
# Fastlane lanes may say send_heartbeat(30). A file that is not there would stop every Ruby.
[ ! -r "${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/fastlane/find-actions.rb" ] ||
  export RUBYOPT="-r${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/fastlane/find-actions.rb${RUBYOPT:+ $RUBYOPT}"
