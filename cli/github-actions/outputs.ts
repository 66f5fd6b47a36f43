/** Writes the outputs of a step, which later steps read. */
import { randomBytes } from 'node:crypto';
import { appendFileSync } from 'node:fs';

interface Outputs {
  /** Each of several builds or files has a line of its own. */
  [name: string]: readonly string[];
}

/** The text for the file that GITHUB_OUTPUT names. Each delimiter is random, so no value can contain it. */
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
