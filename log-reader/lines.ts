/**
 * Bytes in, clean lines out: UTF-8 decoded across chunks, colours removed, a carriage return ends a line as a
 * newline does (tools redraw their progress bars with it). Invariant: the lines are the same however the
 * bytes are cut, and the memory held is bounded however long a line is.
 */

/**
 * What is kept of a line's start, and of its end. The target of an xcodebuild command stands at the end of
 * its line.
 */
const HEAD_CHARS = 2_048;
const TAIL_CHARS = 512;

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is removed
const ANSI = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])/g;

export interface LineReader {
  /** Calls back once for each line that the chunk completes. Empty lines are left out. */
  push(chunk: Uint8Array, onLine: (line: string) => void): void;
}

export function createLineReader(): LineReader {
  // Never fatal: a build prints what it likes, and a broken byte must not hide the line around it.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let head = '';
  let tail = '';

  const grow = (text: string) => {
    const room = HEAD_CHARS - head.length;
    if (room >= text.length && tail === '') {
      head += text;
      return;
    }
    head += text.slice(0, room);
    tail = (tail + text.slice(room)).slice(-TAIL_CHARS);
  };

  return {
    push(chunk, onLine) {
      const text = decoder.decode(chunk, { stream: true });
      let start = 0;
      // Looked for only when passed: a lone return at the end of a chunk must not be searched for from every
      // line.
      let atReturn = text.indexOf('\r');
      for (;;) {
        if (atReturn >= 0 && atReturn < start) atReturn = text.indexOf('\r', start);
        const atNewline = text.indexOf('\n', start);
        const end = atReturn >= 0 && (atNewline < 0 || atReturn < atNewline) ? atReturn : atNewline;
        if (end < 0) {
          if (start < text.length) grow(text.slice(start));
          return;
        }
        if (end > start) grow(text.slice(start, end));
        if (head !== '') {
          onLine(clean(head + tail));
          head = '';
          tail = '';
        }
        start = end + 1;
      }
    },
  };
}

function clean(line: string): string {
  return line.includes('\x1b') ? line.replace(ANSI, '') : line;
}
