/** Gives a command a terminal, with script(1), because Node cannot make one. */
export interface TerminalSize {
  rows: number;
  columns: number;
}

/** The terminal keeps this size until its end. */
export function wordsOnTerminal(words: readonly string[], { rows, columns }: TerminalSize): [string, ...string[]] {
  const sized = ['/bin/sh', '-c', `stty rows ${rows} columns ${columns}; exec "$@"`, 'sh', ...words];
  if (process.platform === 'darwin') return ['script', '-q', '/dev/null', ...sized];
  return ['script', '-qefc', sized.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' '), '/dev/null'];
}
