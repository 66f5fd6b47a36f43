import type { KnownError } from './known-error.ts';

/**
 * A tool asked a question that nobody can answer during a build. The question of any tool is the same error.
 */
export const QUESTIONS: readonly KnownError[] = [
  {
    id: 'question_asked',
    pattern: new RegExp(
      [
        // EAS, Expo
        'Input is required, but (?:stdin is not readable|.{1,60} is in non-interactive mode)\\.(?: Failed to display prompt: (?<eas>.{1,160}))?',
        "Must configure EAS project by running 'eas init'",
        "^(?!.*Input is required)(?=.*non-interactive (?:mode|is specified))(?:\\w*Error: )?(?<mode>.*\\b(?:must|required|cannot|can't|unable|could not)\\b.*?) (?:in|when) (?:running in |building in )?(?:`?--)?non-interactive",
        // fastlane
        '^(?:\\[!\\] )?(?:Could not retrieve response as fastlane runs in non-interactive mode)',
        '^(?<apple>Please enter (?:the \\d digit code|code).{0,80})',
        // npm and npx, pnpm
        'npx canceled due to missing packages and no YES option: (?<npx>.{1,120})',
        'ERR_PNPM_ABORTED_REMOVE_MODULES_DIR_NO_TTY(?<pnpm>.{0,120})',
        '^npm (?:error|ERR!) code EOTP',
        // sudo, ssh, git, security
        '^sudo: (?<sudo>a terminal is required to read the password|a password is required|no tty present)',
        '^(?<ssh>Enter passphrase for key .{1,80}|password to unlock .{1,80})$',
        // prompts and inquirer in any tool
        'User force closed the prompt|Prompts can not be meaningfully rendered in non-TTY environments',
        'ERR_USE_AFTER_CLOSE\\]?: readline was closed',
        'Raw mode is not supported on the current process\\.stdin',
        '^(?:ERROR: |Error: )?[Tt]he input device is not a TTY',
      ].join('|'),
    ),
    near: [
      { where: 'below', within: 4, pattern: /^(?:Required input:\s*)?> (?<below>.{1,160})$/, until: /^at / },
      { where: 'above', within: 3, pattern: /^(?<above>\? .{1,160}|.{1,158}\?(?: \(?[yY]\/[nN]\)?)?)$/ },
    ],
    sentence:
      'A tool asked a question, and nobody can answer one during a build[: $<eas|mode|npx|apple|ssh|sudo|below|above>].',
    advice:
      'Answer it beforehand: with an option of the tool ("--yes", "--non-interactive" and what it then wants), a variable, a secret or a file of the project.',
  },
];
