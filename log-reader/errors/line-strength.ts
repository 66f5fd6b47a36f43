/**
 * Guesses, from the form and the words of a line, how likely it shows the reason why a build failed. Pure.
 */

export type Strength = 0 | 1 | 2;
const NONE = 0;
const BY_WORDS = 1;
export const BY_FORM = 2;

/** The form in which a tool prints an error. */
const FORMS = [
  /^(?:.{0,300}?[:)] )?(?:fatal )?error: \S/,
  /^(?:\S{0,80} )?\w*(?:Error|Exception|Failure)(?: \[\w+\])?: \S/,
  /\((?:\w+::)*\w*(?:Error|Exception)\)$/,
  /^\[!\] /,
  /^(?:npm (?:error|ERR!)|error|ERROR|FATAL|FAIL|\[ERROR\]|\[error\]) \S/,
  /^(?:fatal|FATAL ERROR|ERROR|panic|Fatal error|Uncaught|Unhandled|Traceback)\b.*:/,
  /^\s*(?:\[?ERR_\w+\]?|ERR_PNPM\w*) /,
  /^(?:ld: |Undefined symbols?|duplicate symbol|\d+ duplicate symbols?|e: )/,
  /^(?:\* What went wrong:|Execution failed for task|A problem occurred|> Could not |CMake Error|ninja: error)/,
  /^security: Sec|\berrSec\w+|\bITMS-\d+|\bCSSMERR_\w+/,
  /^\S+: line \d+: |\bcommand not found\b|: No such file or directory$|: Permission denied$/,
  /^(?:✖|✗|✘|⨯|●) /u,
  /^\w+ ERR! (?!stack +at |not ok)/,
  /:\d+(?::\d+)?(?:-\d+)? Error:$|^> Task \S+ FAILED$/,
  /^Test Case '.*' failed|: error: -\[|encountered an error \(/,
  /\b(?:Segmentation fault|Abort trap|Bus error|Illegal instruction|Trace\/BPT trap|Killed: 9)\b/,
];
const WORDS =
  /\b(?:fail(?:ed|ure|s)?|errors?|exceptions?|cannot|can(?:'|no)t|could(?:n't| not)|unable to|not (?:found|permitted|installed|supported|allowed|exist|authori[sz]ed|valid)|no such|denied|invalid|missing|unauthori[sz]ed|forbidden|time[ds]? ?out|refused|exceed(?:ed|s)|expired|mismatch(?:ed)?|unsupported|unexpected|required|must be|abort(?:ed)?|crash(?:ed)?|rejected|conflicts?|corrupt(?:ed)?|incompatible|wrong|undefined|uninitialized)\b/i;
const NO_FAILURE = /\b(?:0|no|without|zero) (?:errors?|failures?|issues?|warnings?)\b|\berrors?: (?:0|none)\b/i;

export function strengthOf(text: string): Strength {
  if (NO_FAILURE.test(text) || isNoise(text)) return NONE;
  if (FORMS.some((form) => form.test(text))) return BY_FORM;
  return WORDS.test(text) ? BY_WORDS : NONE;
}

/** Lines that tools also print in a successful build, and the frames that they draw around messages. */
const NOISE = [
  /^at (?:\S+ )?\(?(?:\S+:\d+|<anonymous>|native|async )/,
  /^[-+|=_*#~.\s]+$/,
  /^\|.*\|$/,
  /^(?:[›▸-] |\[[\w.+ -]+\] )?(?:Compiling|Linking|Executing|Copying|Preparing|Processing|Signing|Packaging|Touching|Creating|Building|Analyzing)\b/,
  /^(?:> Task (?!.* FAILED$)|> Configure |Installing \S+ \(|Using \S+ \(|Downloading |Fetching |remote: |Receiving objects|Resolving deltas)/,
  /^\S+ (?:▓|░)|^\d+(?:\.\d+)? ?%|^\[\d+\/\d+\] /,
  /^(?:✓|✔|✅) /u,
  /^Executed \d+ tests?|^Test (?:Suite|Case) '.*(?:started|passed|finished)|^t = +[\d.]+s /,
  /^\d{4}-\d\d-\d\d [\d:.+ ]+ xcodebuild\[\d+:\d+\] (?!.*Error Domain)/,
  /^(?:\d+\s+\S+\s+0x[0-9a-f]+ |\d+: 0x[0-9a-f]+ |-----|Stack dump|Require stack:$|Node\.js v\d|node:\S+:\d+$|throw er;)/,
];

export const isNoise = (text: string): boolean => NOISE.some((pattern) => pattern.test(text));
