/**
 * Removes from a line what other programs have added to the output of a tool: the phase of EAS, the time of
 * fastlane, the mark of a formatter. No other file knows these forms.
 *
 * Invariant: a line without such an addition stays the same, except for the spaces at its start.
 */

const EAS_PREFIX = /^\[([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|PREBUILD|CUSTOM|UNKNOWN)\](?: (.*))?$/;
/** A custom build of EAS prints the names of its steps instead. These do the same as a phase. */
const EAS_STEPS: ReadonlyMap<string, string> = new Map([
  ['Install node modules', 'INSTALL_DEPENDENCIES'],
  ['Configure iOS credentials', 'PREPARE_CREDENTIALS'],
  ['Inject Android credentials', 'PREPARE_CREDENTIALS'],
  ['Prebuild', 'PREBUILD'],
  ['Calculate EAS Update Runtime Version', 'CALCULATE_EXPO_UPDATES_RUNTIME_VERSION'],
  ['Install Pods', 'INSTALL_PODS'],
  ['Configure EAS Update', 'CONFIGURE_EXPO_UPDATES'],
  ['Bundle JavaScript', 'EAGER_BUNDLE'],
  ['Run fastlane', 'RUN_FASTLANE'],
  ['Run gradle', 'RUN_GRADLEW'],
  ['Find and upload build artifacts', 'UPLOAD_APPLICATION_ARCHIVE'],
]);
const FASTLANE_PREFIX = /^(?:[A-Z]+ )?\[(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(?:\.\d+)?\]: /;

export interface Peeled {
  /** The phase of EAS that the line says it belongs to. */
  easPhase: string | null;
  text: string;
}

export function peel(line: string): Peeled {
  let easPhase: string | null = null;
  let text = line;
  if (text.charCodeAt(0) === 0x5b) {
    const match = EAS_PREFIX.exec(text);
    if (match && match[1]!.length <= 64) {
      easPhase = match[1]!;
      text = match[2] ?? '';
    } else if (!match) {
      const end = text.indexOf('] ');
      const step = end > 0 && end <= 64 ? EAS_STEPS.get(text.slice(1, end)) : undefined;
      if (step) [easPhase, text] = [step, text.slice(end + 2)];
    }
  }
  // gym sends its formatter's lines through its own log: the time, then `▸ `.
  const time = text.includes(']: ') ? FASTLANE_PREFIX.exec(text) : null;
  return { easPhase, text: time ? text.slice(time[0].length) : text };
}

export interface RawLine {
  easPhase: string | null;
  /** As it was printed, without colours, phase and time, and without spaces at its start. */
  printed: string;
  /** True if it began with spaces. */
  indented: boolean;
  /** As the tool itself would have printed it: `❌ a.swift:1:2: x` is `a.swift:1:2: error: x`. */
  text: string;
}

const LINE_CHARS_MAX = 2_048;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern removes colours
const COLOURS = /\x1b\[[0-9;?]*[ -/]*[@-~]/g;

/**
 * fastlane puts `▸` before the output of the programs that it runs. oclif marks its errors with `›`, and
 * Gradle marks the output of ninja.
 */
const CARRIER = /^(?:▸\s+|›\s+(?=Error:)|C\/C\+\+: )/;
/** xcbeautify with and without colours, xcpretty, Expo's formatter. */
const MARK = /^(❌|\[x\]|⚠️?|✖|\[!\](?=\s+(?:\/[^:]*:[\d\s]|ld: |warning: )))\uFE0F?\s+/u;
/** `::error file=a.swift,line=1,col=2::text`, as xcbeautify and scripts print it on GitHub. */
const GITHUB = /^::(error|warning|notice)(?: ([^:]*(?::(?!:)[^:]*)*))?::/;
const GITHUB_SHOWN = /^##\[(error|warning)\]/;
const AZURE = /^##vso\[task\.logissue type=(error|warning)([^\]]*)\]/;
/** The place before a message: `/a/b.swift:1:2`, `Pods/Yoga`, `ios/A.xcodeproj`. */
const LOCATED = /^((?:\/[^:"'`]*|[^\s:"'`/]+\/[^\s:"'`]*)(?::\d+){0,2}): (?!\s)(.*)$/;
const SEVERITY = /(?:^|[:)] )(?:fatal )?(?:error|warning|note): /;

/** Takes a redrawn line as it was last drawn. Time and length have a limit for any line. */
export function rawForm(line: string): RawLine {
  const clean = line.slice(0, LINE_CHARS_MAX).replace(COLOURS, '').trimEnd();
  const { easPhase, text } = peel(clean.slice(clean.lastIndexOf('\r') + 1));
  const printed = text.trimStart();
  return { easPhase, printed, indented: printed.length < text.length, text: withoutMark(carried(printed)) };
}

const carried = (text: string): string => text.replace(CARRIER, '').replace(CARRIER, '').trimStart();

function withoutMark(text: string): string {
  const annotated = GITHUB.exec(text) ?? GITHUB_SHOWN.exec(text) ?? AZURE.exec(text);
  if (annotated) {
    const severity = annotated[1] === 'notice' ? 'note' : annotated[1]!;
    const where = placeOf(annotated[2] ?? '');
    return withSeverity(where + text.slice(annotated[0].length).trimStart(), severity);
  }
  const mark = MARK.exec(text);
  if (!mark) return text;
  const rest = text.slice(mark[0].length);
  if (mark[1] === '✖') return rest;
  return withSeverity(rest, mark[1] === '❌' || mark[1] === '[x]' ? 'error' : 'warning');
}

/** `file=a.swift,line=1,col=2` and `;sourcepath=a.swift;linenumber=1;columnnumber=2` as `a.swift:1:2: `. */
function placeOf(fields: string): string {
  const field = (name: RegExp) => name.exec(fields)?.[1];
  const file = field(/(?:^|[,;])(?:file|sourcepath)=([^,;]+)/);
  if (!file) return '';
  const line = field(/[,;]line(?:number)?=(\d+)/);
  const column = field(/[,;]col(?:umnnumber)?=(\d+)/);
  return `${[file, line, line && column].filter(Boolean).join(':')}: `;
}

/** Puts back the severity that a formatter has replaced by its mark, if the text does not have it already. */
function withSeverity(text: string, severity: string): string {
  if (SEVERITY.test(text)) return text;
  const located = LOCATED.exec(text);
  return located ? `${located[1]}: ${severity}: ${located[2]}` : `${severity}: ${text}`;
}
