# shellcheck shell=sh
# shellcheck disable=SC2034 # read by the scripts that source this file
# Pins the version of each tool in the image. They are from November 2026. No other file has these versions,
# except EXPO_ENGINE_VERSION.
#
# Homebrew keeps only the newest release of each formula. So Node and Ruby are pinned to a release line, which
# also brings its security fixes. The other tools are pinned to one release. If an image already has Homebrew,
# its release stays.
HOMEBREW_VERSION=6.0.22  # github.com/Homebrew/brew/releases
NODE_FORMULA=node@24     # the active LTS line; eas-cli asks for 20.18.3 or 22 and newer
RUBY_FORMULA=ruby@3.4    # fastlane and CocoaPods; macOS's own 2.6 is too old for current gems
EAS_CLI_VERSION=24.8.0   # npm view eas-cli version
EXPO_ENGINE_VERSION=24.7.0 # npm view eas-cli-local-build-plugin version; vm-image/guest/engine-plugin.sh has it too
FASTLANE_VERSION=2.239.0 # rubygems.org/gems/fastlane
COCOAPODS_VERSION=1.16.2 # rubygems.org/gems/cocoapods
MISE_MINIMUM=2026.9      # the release that the tests run; Homebrew has only the newest
CURL_MINIMUM=7.75        # the first release with %{exitcode} and %{errormsg}, which the monitor reads

# SHA-256 of AppleWWDRCAG3.cer and the others at apple.com/certificateauthority; fastlane's cert_checker.rb
# has the same. G3 issues the certificates of apps, G6 those of Swift packages, the others those of services.
APPLE_G3_SHA256=dcf21878c77f4198e4b4614f03d696d89c66c66008d4244e1b99161aac91601f
APPLE_G4_SHA256=ea4757885538dd8cb59ff4556f676087d83c85e70902c122e42c0808b5bce14c
APPLE_G5_SHA256=53fd008278e5a595fe1e908ae9c5e5675f26243264a5a6438c023e3ce2870760
APPLE_G6_SHA256=bdd4ed6e74691f0c2bfd01be0296197af1379e0418e2d300efa9c3bef642ca30
