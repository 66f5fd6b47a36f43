# Tells fastlane where the action send_heartbeat is. Every Ruby of a build reads this file first, because
# build-environment.sh sets RUBYOPT. So a project's own fastlane, under `bundle exec`, finds the action too.
# Ruby reads the action itself only when a lane calls it.
module Fastlane
  module Actions
    autoload :SendHeartbeatAction, File.expand_path('actions/send_heartbeat.rb', __dir__)
  end
end
