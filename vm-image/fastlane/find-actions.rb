# Every Ruby of a build reads this first (RUBYOPT in build-environment.sh): so fastlane finds send_heartbeat
# in each project, also where
# `bundle exec` brings a fastlane of the project's own. The action itself is read only when a lane names it.
module Fastlane
  module Actions
    autoload :SendHeartbeatAction, File.expand_path('actions/send_heartbeat.rb', __dir__)
  end
end
