# The Fastlane action send_heartbeat(PERCENT [, PHASE]): tells the monitor how far the build is.
#
#   send_heartbeat(30)
#   send_heartbeat(90, 'Archiving')
#
# In a build every lane has the action (see ../find-actions.rb). A project whose lanes also run elsewhere puts
# a copy of this file into its own fastlane/actions. Outside of a Tartbeat build the action does nothing.
#
# Invariant: it fails on wrong arguments only. It runs on macOS's own Ruby 2.6 and newer.
module Fastlane
  module Actions
    class SendHeartbeatAction < Action
      # Without available_options, fastlane passes the arguments of the call as an array.
      def self.run(arguments)
        program = "#{ENV['TARTBEAT_ROOT']}/usr/local/bin/send_heartbeat"
        return UI.message('send_heartbeat: progress not reported, because this is not a Tartbeat build') unless File.executable?(program)

        system(program, *arguments.map(&:to_s))
        UI.user_error!('call it as send_heartbeat(30) or send_heartbeat(30, "Archiving")') if $?.exitstatus == 64
      end

      def self.description
        'Tell Tartbeat how far the build is, in percent'
      end

      def self.authors
        ['Tartbeat']
      end

      def self.is_supported?(_platform)
        true
      end
    end
  end
end
