# shellcheck shell=sh
# Sets PATH and locale of every build. The ~/.bash_profile of the build's account reads this file; see
# 52-build-shell.sh. Without it a build finds macOS's Ruby 2.6 first. SSH sets no locale, and CocoaPods fails
# without UTF-8.
export LANG=en_US.UTF-8 LC_ALL=en_US.UTF-8
export HOMEBREW_NO_AUTO_UPDATE=1 HOMEBREW_NO_ANALYTICS=1
PATH=$(
  # shellcheck source=vm-image/provision/versions.sh
  . "${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/provision/versions.sh"
  brew=${TARTBEAT_ROOT:-}/opt/homebrew
  printf '%s' "$brew/opt/$RUBY_FORMULA/bin:$brew/bin:$brew/sbin:$PATH"
)
export PATH
# Programs with a list of authorities of their own; see 18-authorities.sh. Apple's programs ask the system.
if [ -r "${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/authorities/all.pem" ]; then
  authorities=${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/authorities
  export NODE_EXTRA_CA_CERTS="$authorities/own.pem" SSL_CERT_FILE="$authorities/all.pem"
  export GIT_SSL_CAINFO="$authorities/all.pem" CURL_CA_BUNDLE="$authorities/all.pem"
  unset authorities
fi
# Lets Fastlane lanes call send_heartbeat(30). Every Ruby would fail if RUBYOPT named a missing file.
[ ! -r "${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/fastlane/find-actions.rb" ] ||
  export RUBYOPT="-r${TARTBEAT_ROOT:-}/usr/local/share/tartbeat/fastlane/find-actions.rb${RUBYOPT:+ $RUBYOPT}"
