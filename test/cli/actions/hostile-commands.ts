/** Makes text that tries to be a command to the runner of GitHub Actions. */
import fc from 'fast-check';

const UNITS = [
  '::',
  ':',
  '##[',
  '#',
  '[',
  ']',
  '=',
  ',',
  ';',
  '\n',
  '\r',
  '\r\n',
  '%',
  '%0A',
  '%3A',
  ' ',
  '\u00a0',
  '\u2003',
];
const WORDS = ['set-output', ' name=id', 'add-mask', 'stop-commands', 'error', 'add-matcher', '<<', 'é', '\u00ad', 'x'];
export const hostileCommands = fc
  .array(fc.constantFrom(...UNITS, ...WORDS), { maxLength: 24 })
  .map((parts) => parts.join(''));
