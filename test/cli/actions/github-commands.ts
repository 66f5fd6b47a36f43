/** Reads what a step of GitHub Actions prints and writes, as the runner of GitHub does. */

export interface GithubCommand {
  name: string;
  properties: Record<string, string>;
  data: string;
}

/** The commands that the runner of GitHub obeys. Their names are not case-sensitive. */
const KNOWN = [
  'add-mask',
  'add-matcher',
  'add-path',
  'debug',
  'echo',
  'endgroup',
  'error',
  'group',
  'internal-set-repo-path',
  'notice',
  'remove-matcher',
  'save-state',
  'set-env',
  'set-output',
  'stop-commands',
  'warning',
] as const;

const SEPARATORS = { ':': '%3A', ',': '%2C' };
const OLD = { ';': '%3B', ']': '%5D' };
const DATA = { '\r': '%0D', '\n': '%0A', '%': '%25' };

const unescaped = (text: string, table: Record<string, string>): string =>
  Object.entries(table).reduce((sum, [token, written]) => sum.replaceAll(written, token), text);

/** Null: the line is no command. */
function parse(line: string, known: ReadonlySet<string>): GithubCommand | null {
  const trimmed = line.trimStart();
  const end = trimmed.startsWith('::') ? trimmed.indexOf('::', 2) : -1;
  if (end >= 0) {
    const found = command(trimmed.slice(2, end), ',', { ...SEPARATORS, ...DATA }, known);
    if (found) return { ...found, data: unescaped(trimmed.slice(end + 2), DATA) };
  }
  const begin = line.indexOf('##[');
  const bracket = line.indexOf(']', begin);
  if (begin < 0 || bracket < 0) return null;
  const table = { ...OLD, ...DATA };
  const found = command(line.slice(begin + 3, bracket), ';', table, known);
  return found && { ...found, data: unescaped(line.slice(bracket + 1), table) };
}

function command(info: string, separator: string, table: Record<string, string>, known: ReadonlySet<string>) {
  const space = info.indexOf(' ');
  const name = (space < 0 ? info : info.slice(0, space)).toLowerCase();
  if (!known.has(name)) return null;
  const pairs = space < 0 ? [] : info.slice(space + 1).split(separator);
  const properties = pairs.flatMap((pair) => {
    const [key, ...value] = pair.split('=');
    return key && value.length > 0 ? [[key.trim(), unescaped(value.join('='), table)]] : [];
  });
  return { name, properties: Object.fromEntries(properties) as Record<string, string> };
}

/** Hears the lines of a step one after the other. */
export class GithubCommands {
  /** The commands that were obeyed, in their order. */
  readonly obeyed: GithubCommand[] = [];
  /** The lines as the log of the job shows them, with its masks. */
  readonly log: string[] = [];
  readonly #masks: string[] = [];
  #stopToken: string | null = null;

  /** True between `stop-commands` and the word that it named. */
  get isStopped(): boolean {
    return this.#stopToken !== null;
  }

  line(line: string): void {
    const known = new Set<string>([...KNOWN, ...(this.#stopToken === null ? [] : [this.#stopToken.toLowerCase()])]);
    const found = parse(line, known);
    if (!found || (this.#stopToken !== null && found.name !== this.#stopToken.toLowerCase())) {
      this.log.push(this.masked(line));
      return;
    }
    if (this.#stopToken !== null) this.#stopToken = null;
    else {
      this.obeyed.push(found);
      if (found.name === 'stop-commands') this.#stopToken = found.data;
      else if (found.name === 'add-mask') this.#masks.push(found.data);
      else this.log.push(this.masked(line));
    }
  }

  masked(text: string): string {
    return this.#masks.reduce((sum, mask) => sum.replaceAll(mask, '***'), text);
  }
}

/** Hears all that a step has printed. `\r` ends a line too. */
export const heard = (printed: string): GithubCommands => {
  const commands = new GithubCommands();
  for (const line of printed.split(/\r\n|[\r\n]/)) commands.line(line);
  return commands;
};

/** The values that a file such as that of GITHUB_OUTPUT sets. Throws where the runner would fail the step. */
export function valuesIn(text: string): Record<string, string> {
  const values: Record<string, string> = {};
  const lines = text.split('\n');
  while (lines.length > 0) {
    const line = lines.shift()!;
    if (line === '') continue;
    const [, name, delimiter] = /^([^=]+?)<<(.+)$/.exec(line) ?? [];
    if (name === undefined) {
      const equals = line.indexOf('=');
      if (equals < 0) throw new Error(`Invalid format '${line}'`);
      values[line.slice(0, equals)] = line.slice(equals + 1);
      continue;
    }
    const end = lines.indexOf(delimiter!);
    if (end < 0) throw new Error(`Matching delimiter not found '${delimiter}'`);
    values[name] = lines
      .splice(0, end + 1)
      .slice(0, -1)
      .join('\n');
  }
  return values;
}
