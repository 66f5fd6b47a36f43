# shellcheck shell=sh
# shellcheck disable=SC2034 # read by whoever sources this
# What the image is built with. The one place where a version stands; looked up in November 2026.
#
# Homebrew keeps only the newest release of each formula, so Node and Ruby are pinned to their line (security
# fixes of it are wanted); the rest exactly. An image that already has a Homebrew keeps it, whatever its
# release.
HOMEBREW_VERSION=6.0.22  # github.com/Homebrew/brew/releases
NODE_FORMULA=node@24     # the active LTS line; eas-cli asks for 20.18.3 or 22 and newer
RUBY_FORMULA=ruby@3.4    # fastlane and CocoaPods; macOS's own 2.6 is too old for current gems
EAS_CLI_VERSION=24.8.0   # npm view eas-cli version
FASTLANE_VERSION=2.239.0 # rubygems.org/gems/fastlane
COCOAPODS_VERSION=1.16.2 # rubygems.org/gems/cocoapods
CURL_MINIMUM=7.75        # the monitor reads %{exitcode} and %{errormsg}, which came with it
