/**
 * Turns bytes into clean lines. It decodes UTF-8 across chunks and removes colours. A carriage return ends a
 * line like a newline does, because tools redraw their progress bars with it.
 *
 * Invariant: the lines do not depend on the sizes of the chunks, and the memory has a limit for a line of any
 * length.
 */

/**
 * How much it keeps of the start of a long line, and of the end. xcodebuild prints the target of a command at
 * the end of the line.
 */
const HEAD_CHARS = 2_048;
const TAIL_CHARS = 512;

// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern removes escape sequences
const ANSI = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])/g;

export interface LineReader {
  /** Calls back once for each line that the chunk completes. Empty lines are left out. */
  push(chunk: Uint8Array, onLine: (line: string) => void): void;
}

export function createLineReader(): LineReader {
  // The decoder never throws, because a build may print any bytes, and the rest of the line must still be
  // read.
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
      // Searches for the next return only after passing the last one. Otherwise every line would search the
      // whole chunk again.
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
