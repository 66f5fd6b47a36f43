/** What the documents say in tables is what the code has. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { BUILD_STATUSES, CAUSES, type Explained, VERDICTS } from '../controller/contract.ts';
import { EVENT_TYPES, TRANSITIONS } from '../controller/transitions.ts';
import { explainCause, explainVerdict } from '../controller/verdicts.ts';

const read = (name: string) => readFile(new URL(`../${name}`, import.meta.url), 'utf8');

test('the table of states in ARCHITECTURE.md is the one in the code', async () => {
  const rows = BUILD_STATUSES.map((status) => {
    const cells = EVENT_TYPES.map((type) => (TRANSITIONS[status] as Record<string, string>)[type] ?? '');
    return `| ${[status, ...cells].join(' | ')} |`.replaceAll(/ {2,}/g, ' ');
  });
  const head = [`| status | ${EVENT_TYPES.join(' | ')} |`, `|${'---|'.repeat(EVENT_TYPES.length + 1)}`];
  const table = /<!-- transitions -->\n([\s\S]*?)\n<!-- \/transitions -->/.exec(await read('ARCHITECTURE.md'))?.[1];
  expect(table?.split('\n')).toEqual([...head, ...rows]);
});

test('docs/verdicts.md has every verdict and cause in the words of the code (`npx vitest run -u test/documents.test.ts` writes it)', async () => {
  const paragraph = ({ code, title, explanation, advice }: Explained, whose = '') =>
    `### \`${code}\`: ${title}\n\n${explanation}${whose}\n\n**What to do.** ${advice}\n`;
  const verdicts = VERDICTS.map((verdict) => {
    const view = explainVerdict(verdict, null, null);
    return paragraph(view, view.whose === 'user' ? ' Not retried.' : ' Retried if the build allows another attempt.');
  });
  const causes = CAUSES.map((cause) => paragraph(explainCause(cause)));
  const page = `# Verdicts and causes

A verdict says how an attempt ended; it never changes. A cause says why, as far as the evidence tells, and may be added
later. Both lists are closed. A verdict is the user's (the build itself) or the infrastructure's (a Mac, a VM, a network); only the latter is retried.

## Verdicts

${verdicts.join('\n')}
## Causes

${causes.join('\n')}`;
  await expect(page).toMatchFileSnapshot('../docs/verdicts.md');
});
