/** What stands in front of a tool's own words: the phase, put there by EAS, and the time, put there by fastlane. */

const EAS_PREFIX = /^\[([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|PREBUILD|CUSTOM|UNKNOWN)\](?: (.*))?$/;
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
    }
  }
  // gym sends its formatter's lines through its own log: the time, then `▸ `.
  const time = text.includes(']: ') ? FASTLANE_PREFIX.exec(text) : null;
  return { easPhase, text: time ? text.slice(time[0].length) : text };
}
