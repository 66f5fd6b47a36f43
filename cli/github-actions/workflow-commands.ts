/**
 * Makes lines that the runner of GitHub Actions obeys when a step prints them. docs.github.com calls them
 * workflow commands. Pure.
 *
 * Invariant: a command is always one line, and no value can add a line or a property.
 */
const escapeData = (text: string): string =>
  text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');

const escapeProperty = (text: string): string => escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');

/**
 * One line, without its end. A property without a value is left out, because the runner does not accept it.
 */
export function workflowCommand(
  name: string,
  data: string,
  properties: Record<string, string | number | undefined> = {},
): string {
  const given = Object.entries(properties).filter(([, value]) => value !== undefined && value !== '');
  const list = given.map(([key, value]) => `${key}=${escapeProperty(String(value))}`).join(',');
  return `::${name}${list && ` ${list}`}::${escapeData(data)}`;
}
