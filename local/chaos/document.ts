/**
 * Runs `npm run chaos:document -- RESULT.json`, which writes the result of a run of chaos into
 * docs/reliability.md, between the document's markers.
 *
 * Invariant: every number between the markers comes from RESULT.json. The rest of the document does not
 * change.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PROJECT_ROOT } from '../farm/project-root.ts';
import { wrapped } from '../prose.ts';
import { FAULTS } from './faults/catalogue.ts';
import type { Fault } from './faults/fault.ts';
import { type ChaosSummary, faultRows, promiseRows } from './summary.ts';

const COMPLAINT_MAX = 240;

/** The outcome that each fault must have. The judge uses the same table. */
export function expectedTable(): string {
  const outcome = ({ ends, steps, causes, handedBack }: Fault) => {
    const endings = ends.map((ending) => `\`${ending}\``).join(' or ');
    const step = steps ? `, step ${steps.map((one) => `\`${one}\``).join(' or ')}` : '';
    const cause = causes ? `, ${causes.map((one) => (one ? `cause \`${one}\`` : 'no cause')).join(' or ')}` : '';
    return `${endings}${step}${cause}${handedBack ? ', handed back' : ''}`;
  };
  return table([['fault', 'what happens', 'outcome'], ...FAULTS.map((one) => [one.kind, one.title, outcome(one)])]);
}

export function measuredText(summary: ChaosSummary): string {
  const { machine, load, faults, builds, planned, complaints } = summary;
  const minutes = (summary.durationMs / 60_000).toFixed(0);
  const short = planned.builds > builds.judged ? ` ${planned.builds} builds were planned, but the time ran out.` : '';
  const promises = promiseRows(summary).map(({ promise, measured, kept }) => [
    promise,
    measured,
    kept ? 'yes' : '**no**',
  ]);
  const lines = [
    '```sh',
    summary.command,
    '```',
    '',
    wrapped(
      `${summary.startedAt.slice(0, 10)}, ${minutes} minutes on ${machine.cpus} processors (${machine.model}, ${machine.memoryGb} GB, ${machine.platform}, Node ${machine.node}), with a load of ${load.mean} on average and ${load.max} at most. ${builds.judged} builds in ${builds.attempts} attempts met ${faults.injected} faults. ${faults.missed} more faults came too late and are not counted. The controller was restarted ${summary.outages} times.${short}`,
    ),
    '',
    table([['promised', 'measured', 'kept'], ...promises]),
    '',
    table(faultRows(summary).map(([kind = '', , ...rest]) => [kind, ...rest])),
  ];
  if (complaints.length > 0)
    lines.push(
      '',
      'Every result that differs from the expected one:',
      '',
      ...complaints.flatMap(({ build, kind, complaints: texts }) =>
        texts.map((text) => wrapped(`- build ${build} (${kind ?? 'no fault'}): ${plain(text)}`)),
      ),
    );
  return lines.join('\n');
}

/** Replaces the text between the markers of that name. Throws if the document has no such markers. */
export function withSection(document: string, name: string, text: string): string {
  const section = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(\n<!-- /${name} -->)`);
  if (!section.test(document))
    throw new Error(
      `docs/reliability.md has no section between <!-- ${name} --> and <!-- /${name} -->. Put both back.`,
    );
  return document.replace(section, (_, before: string, after: string) => `${before}${text}${after}`);
}

/** Leaves out the evidence, because the run has printed it. */
const plain = (text: string) =>
  text
    .replace(/; \{".*$/s, '')
    .replaceAll(/[\s|<>]+/g, ' ')
    .slice(0, COMPLAINT_MAX);

function table([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`.replaceAll(/ {2,}/g, ' ');
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

if (import.meta.main) {
  const [file] = process.argv.slice(2);
  if (!file)
    throw new Error(
      'Name the result to write into the document: `npm run chaos:document -- FILE`. `npm run chaos -- --json FILE` makes one.',
    );
  const summary = JSON.parse(await readFile(resolve(process.env.INIT_CWD ?? '.', file), 'utf8')) as ChaosSummary;
  const path = join(PROJECT_ROOT, 'docs', 'reliability.md');
  const filled = withSection(await readFile(path, 'utf8'), 'expected', expectedTable());
  await writeFile(path, withSection(filled, 'measured', measuredText(summary)));
}
