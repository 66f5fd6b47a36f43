/**
 * Writes what the runner of GitHub Actions obeys when a step prints it, and keeps the text of others from
 * being obeyed. Pure.
 *
 * The runner obeys a line that begins with `::NAME` after spaces, and `##[NAME]` anywhere in a line. It knows
 * `\r` as the end of a line. docs.github.com calls these workflow commands.
 *
 * Invariant: a command is one line whatever its values have in them, and no value adds a property.
 */
import { printableLines } from '../../client/printable.ts';

const escapeData = (text: string): string =>
  text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');

const escapeProperty = (text: string): string => escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');

/** One line, without its end. A property without a value is left out: the runner does not know it. */
export function workflowCommand(
  name: string,
  data: string,
  properties: Record<string, string | number | undefined> = {},
): string {
  const given = Object.entries(properties).filter(([, value]) => value !== undefined && value !== '');
  const list = given.map(([key, value]) => `${key}=${escapeProperty(String(value))}`).join(',');
  return `::${name}${list && ` ${list}`}::${escapeData(data)}`;
}

/** Text that may have words of others in it, so that the runner prints it. Keeps the line breaks `\n`. */
export const harmless = (text: string): string =>
  printableLines(text)
    .replaceAll(/^(\s*):(?=:)/gm, '$1: ')
    .replaceAll('##[', '# #[');
