/** Writes the outputs of a step, which later steps read. */
import { randomBytes } from 'node:crypto';
import { appendFileSync } from 'node:fs';

interface Outputs {
  /** Of several builds or files each has a line of its own. */
  [name: string]: readonly string[];
}

/** What goes into the file that GITHUB_OUTPUT names. Nobody can know the delimiter of a value before. */
export const outputText = (outputs: Outputs): string =>
  Object.entries(outputs)
    .map(([name, values]) => {
      const delimiter = `end-${randomBytes(16).toString('hex')}`;
      return `${name}<<${delimiter}\n${values.join('\n')}\n${delimiter}\n`;
    })
    .join('');

export function writeOutputs(outputs: Outputs): void {
  const { GITHUB_OUTPUT: path } = process.env;
  if (path) appendFileSync(path, outputText(outputs));
}
