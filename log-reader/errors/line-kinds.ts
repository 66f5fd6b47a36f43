/**
 * Sorts the lines at the end of a failed build: lines of finished steps, warnings, and repetitions. Pure.
 */
import { AFTER_A_FAILURE, isEasPhase } from '../phases.ts';
import type { RawLine } from '../prefixes.ts';

/** A success. A failure before one of these lines did not fail the build. */
const SUCCESS =
  /^(?:› )?(?:\*\* (?:BUILD|ARCHIVE|TEST|EXPORT|TEST BUILD|CLEAN) SUCCEEDED \*\*|(?:Archive|Build|Export|Test|Clean) Succeeded\b|BUILD SUCCESSFUL in |Build successful\b|Pod installation complete!|Successfully exported and signed the |fastlane\.tools finished successfully|fastlane finished successfully|Exported: |added \d+ packages\b|✨ +Done in |success Successfully built the app)/;
/** Commands as the shell traces them, comments, and warnings without a colon. */
const NO_ERROR =
  /^(?:\++ |\$ |# |\/\/ |> [\w@./-]+@\d|npm (?:warn|WARN|notice|http|info|verb|timing) |warn(?:ing)? |info |debug |w: |v: |export \w+=|echo |Note: |Warning: (?!unable to build chain)|WARNING: |⚠️)/u;
/** xcodebuild prints the commands that it runs, indented, below the name of each step. */
const RUN_BY_XCODE = /^(?:cd |export |setenv |builtin-\S+ |write-file |\/\S*[^\s:] )/;
const XCODE_COMMAND = /^[A-Z][A-Za-z+]+ .*\(in target '[^']*' from project '[^']*'\)$/;
const SEVERITY = /(?:^|[:)] )(?:fatal )?(error|warning|note|hint|remark): /;
/** These lines report a failure, but not its reason. */
const CONSEQUENCE = [
  /^(?:error: )?(?:Command \S+|Script '[^']+') (?:failed|emitted errors)\b/,
  /^(?:\*\* |=== )?(?:BUILD|ARCHIVE|TEST|EXPORT|CLEAN|TEST BUILD|TEST EXECUTE) (?:FAILED|INTERRUPTED)\b/,
  /^(?:The following build commands failed|\(\d+ failures?\)|Testing failed:|Failing tests:|Failed$|Build [Ff]ailed\b)/,
  /^(?:Exit status: \d+|Error: Process completed with exit code|exit code:? \d+)/i,
  /^(?:\w+: )?(?:Error: )?(?:\S+ )+exited with (?:a )?non-zero (?:exit )?code/,
  /^(?:Error: )?(?:build command failed|Fastlane build failed|Gradle build failed|The "Run \w+" step failed)/i,
  /^error \S+: Command failed\.$|^Exit code: \d+$|^error (?:Command failed|Failed to (?:build|install|launch))\b|^error Command failed\.|^info (?:Visit|Run CLI)/,
  /^npm (?:error|ERR!) (?:A complete log|Lifecycle|Exit status|code ELIFECYCLE|errno|path|command|workspace|location|cwd|code \d+)\b/,
  /^\s*(?:ERR_PNPM_RECURSIVE_RUN_FIRST_FAIL|ELIFECYCLE)\b/,
  /^(?:FAILURE: Build failed with|BUILD FAILED in|\* Try:|\* Get more help|> Run with |> Get more help|Deprecated Gradle)/,
  /^(?:make|gmake)(?:\[\d+\])?: \*\*\*/,
  /^\[!\] (?:Error building the application|Error building\/archiving|Exit status|The exit status)/,
  /^(?:clang(?:\+\+)?: )?error: linker command failed|^error: Errors? (?:was|were) encountered/i,
  /^(?:Looks like fastlane ran into|Something went wrong in lane|fastlane finished with errors|Error building the app)/,
  /^(?:Maybe the error shown is caused|Make sure to inspect the output above|Called from Fastfile|See the log|⬆️|📋)/u,
  /^(?:\d+ actionable tasks?:|\d+ errors? generated\.|Error: Build errors detected|CommandError: Failed to build)/,
];

export const isSuccess = (text: string): boolean => SUCCESS.test(text);

export const isConsequence = (text: string): boolean => CONSEQUENCE.some((pattern) => pattern.test(text));

/** If a line names several severities, the first one counts, because a warning may quote an error. */
export function isNoError({ text, indented }: RawLine): boolean {
  if ((indented && RUN_BY_XCODE.test(text)) || NO_ERROR.test(text)) return true;
  const severity = SEVERITY.exec(text)?.[1];
  return severity === undefined ? XCODE_COMMAND.test(text) : severity !== 'error';
}

/**
 * After a failed phase EAS only runs the phases that clean up. So the phases before the last other phase did
 * not fail the build.
 */
export const isNextStep = (easPhase: string): boolean => isEasPhase(easPhase) && !AFTER_A_FAILURE.has(easPhase);
