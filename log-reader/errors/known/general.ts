import type { KnownError } from './known-error.ts';

/**
 * The message of a tool that runs other tools, when one of those failed. These errors are tried last, because
 * all others say more. They take their details from the lines around the message.
 */
export const GENERAL: readonly KnownError[] = [
  {
    id: 'pods_prepare_command',
    pattern: /^\[!\] \/bin\/bash -c\s*$/,
    near: [
      {
        where: 'below',
        within: 80,
        pattern: /^(?!set |Error: |npm )(?<reason>\S.{1,200})$/,
        takes: 'furthest',
        until: /^(?:Error: .* exited with|Build failed|npm (?:error|ERR!)|error Command|\/\S+\.rb:\d+)/,
      },
      { where: 'above', within: 40, pattern: /^Installing (?<pod>\S+) \(/ },
    ],
    sentence: 'The prepare command of the pod[ $<pod>] failed[: $<reason>].',
    advice: 'The podspec of the pod runs it, see the lines above: most often a download failed or a file is left over.',
  },
  {
    id: 'pods_install_error',
    pattern: /^\[!\] Error installing (\S+)/,
    near: [{ where: 'below', within: 12, pattern: /^(?<reason>(?:fatal|error|curl|git|remote|ERROR)\b.{1,200})/ }],
    sentence: 'The source of the pod $1 could not be fetched[: $<reason>].',
    advice: 'Build again; if it stays, check the lines after it and that the VM reaches the server of the pod.',
  },
  {
    id: 'script_phase_failed',
    pattern: /^(?:error: )?(?:Command PhaseScriptExecution failed with a nonzero exit code|Script '([^']+)' failed)/,
    near: [
      // The list at the end names the failed script for certain. A script above may only have run at the same
      // time.
      { where: 'below', within: 60, pattern: /^PhaseScriptExecution (?<listed>(?:\\.|[^\\\s])+)/ },
      { where: 'above', within: 60, pattern: /^PhaseScriptExecution (?<started>(?:\\.|[^\\\s])+)/ },
      {
        where: 'above',
        within: 12,
        pattern: /^(?<reason>(?:\w*Error|error|fatal): .{1,200}|\S*: line \d+: .{1,200})$/,
      },
    ],
    sentence: 'The script phase[ "$<1|listed|started>"] of Xcode failed[: $<reason>].',
    advice: 'Its own message stands above this line; most often it is the bundling of JavaScript.',
  },
  {
    id: 'gradle_task_failed',
    pattern: /^Execution failed for task '([^']+)'/,
    near: [
      {
        where: 'below',
        within: 12,
        pattern: /^>+ (?<reason>(?!A failure occurred while|Run with|Get more|Compilation error\. See).{1,200})$/,
        until: /^\* /,
      },
    ],
    sentence: 'The Gradle task $1 failed[: $<reason>].',
    advice: 'The output of the task itself stands above it in the log, below the name of the task.',
  },
  {
    id: 'gradle_failed',
    pattern: /^\* What went wrong:/,
    near: [
      { where: 'below', within: 2, pattern: /^(?<what>\S.{1,200})$/, required: true },
      { where: 'below', within: 8, pattern: /^>+ (?<reason>(?!Run with|Get more).{1,200})$/, until: /^\* / },
    ],
    sentence: 'Gradle failed. $<what>[ $<reason>].',
    advice: 'Correct what it names; "--stacktrace" tells more if it is not clear.',
  },
  {
    id: 'xcodebuild_interrupted',
    pattern: /^\*\* (?:BUILD|ARCHIVE|TEST|CLEAN) INTERRUPTED \*\*/,
    sentence: 'Something outside of xcodebuild stopped it before it had ended.',
    advice:
      'See what in the build ends it: a time limit of its own, a second command beside it, or a signal to its group.',
  },
];
