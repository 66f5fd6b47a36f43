/** Reads what a step prints as the runner of GitHub Actions does. */

interface Obeyed {
  name: string;
  data: string;
}

/**
 * Reads as the runner does (ActionCommand.cs, ActionCommandManager.cs): a command at the beginning of a line
 * after spaces, or `##[` anywhere; after stop-commands nothing but the word that it named.
 */
export function runner(output: string) {
  const obeyed: Obeyed[] = [];
  const shown: string[] = [];
  let word: string | null = null;
  for (const line of output.split(/\r\n|\r|\n/)) {
    const [, name, data] =
      /^\s*::([^\s:]+)(?: [^:]*)?::(.*)$/.exec(line) ?? /##\[([^\s\]]+)[^\]]*\](.*)$/.exec(line) ?? [];
    if (name === undefined || (word !== null && name !== word)) shown.push(line);
    else if (name === word) word = null;
    else if (name === 'stop-commands') word = data!;
    else obeyed.push({ name, data: data! });
  }
  return { obeyed, shown, isStopped: word !== null };
}
