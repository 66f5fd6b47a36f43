/** Makes a log with everything that a terminal or the runner of GitHub Actions would obey. */

const ESC = '\x1b';
const BEL = '\x07';

/** https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands, and those of before. */
export const WORKFLOW_COMMANDS = [
  ...['debug', 'notice', 'warning', 'error', 'group', 'endgroup', 'add-mask', 'stop-commands', 'echo', 'save-state'],
  ...['set-output', 'set-env', 'add-path', 'add-matcher', 'remove-matcher', 'internal-set-repo-path'],
];

const commandLines = WORKFLOW_COMMANDS.flatMap((name) => [
  `::${name}::x`,
  `  ::${name} name=x,file=a.ts::x`,
  `##[${name}]x`,
  `text ##[${name} name=x;]x`,
  `10 %\r::${name}::x`,
  `${ESC}[31m::${name}::x${ESC}[0m`,
]);

const escapes = [
  ['clipboard', `${ESC}]52;c;aGk=${BEL}`],
  ['title', `${ESC}]0;title${BEL}${ESC}]2;title${ESC}\\`],
  ['asks', `${ESC}[6n${ESC}[c${ESC}[>c${ESC}Z${ESC}[21t`],
  ['moves', `${ESC}[2J${ESC}[1;1H${ESC}[5A${ESC}[K${ESC}7${ESC}8${ESC}c`],
  ['modes', `${ESC}[?1049h${ESC}[?25l${ESC}[>4;2m${ESC}[1 q`],
  ['strings', `${ESC}P$qm${ESC}\\${ESC}_G${ESC}\\${ESC}^x${ESC}\\`],
  ['c1', '\u009b2J\u009d52;c;x\u009c\u0090x\u009c\u0085'],
  ['charset', `${ESC}(0${ESC})B${ESC}#8`],
  ['bells', `${BEL}${BEL}\b\b`],
  ['turned', '\u202e\u2066\u200f'],
] as const;

export const HOSTILE_LOG = [
  ...commandLines,
  ...escapes.map(([name, orders]) => `before ${name}${orders}after`),
  `${ESC}[35mcoloured${ESC}[0m`,
  'the end',
  '',
].join('\n');

/** Some of its lines, as a reader should see them. */
export const HOSTILE_LOG_SHOWN = [...escapes.map(([name]) => `before ${name}after`), 'coloured', 'the end'];
