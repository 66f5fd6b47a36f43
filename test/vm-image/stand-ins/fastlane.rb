# Runs a lane of a Fastfile as fastlane does, without fastlane. If a lane calls an unknown method, it looks
# for the class of an action in Fastlane::Actions. An action without available_options gets its arguments as
# an array.
#
#   ruby fastlane.rb FASTFILE LANE
module Fastlane
  class Error < StandardError; end

  module UI
    def self.message(text)
      puts "message: #{text}"
    end

    def self.user_error!(text)
      raise Error, text
    end
  end

  class Action
    def self.available_options; end
  end

  class FastFile
    def initialize
      @lanes = {}
    end

    def lane(name, &block)
      @lanes[name] = block
    end

    def run(name)
      @lanes.fetch(name.to_sym).call
    end

    def method_missing(name, *arguments)
      found = Actions.const_get("#{name.to_s.split('_').map(&:capitalize).join}Action")
      found.run(arguments)
    rescue NameError
      raise Error, "Could not find action or lane '#{name}'"
    end
  end
end

# As `fastlane/actions/*.rb` of a project are.
Dir[File.expand_path('actions/*.rb', File.dirname(ARGV[0]))].sort.each { |file| require file }
fastfile = Fastlane::FastFile.new
fastfile.instance_eval(File.read(ARGV[0]), ARGV[0])
begin
  fastfile.run(ARGV[1])
rescue Fastlane::Error => e
  puts "error: #{e.message}"
  exit 1
end
