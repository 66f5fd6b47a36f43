/**
 * `npm run chaos:document -- RESULT.json`: puts what a run of chaos has measured into docs/reliability.md, between its markers.
 *
 * Invariant: every number there comes from that file; nothing else in the document is touched.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PROJECT_ROOT } from '../farm/controller.ts';
import { FAULTS, type Fault } from './faults.ts';
import { type ChaosSummary, faultRows, promiseRows } from './summary.ts';

const COMPLAINT_MAX = 240;

/** What each fault must lead to, as the judge has it. */
export function expectedTable(): string {
  const outcome = ({ ends, steps, causes }: Fault) => {
    const endings = ends.map((ending) => `\`${ending}\``).join(' or ');
    const step = steps ? `, step ${steps.map((one) => `\`${one}\``).join(' or ')}` : '';
    const cause = causes ? `, cause ${causes.map((one) => `\`${one}\``).join(' or ')}` : '';
    return `${endings}${step}${cause}`;
  };
  return table([['fault', 'what happens', 'outcome'], ...FAULTS.map((one) => [one.kind, one.title, outcome(one)])]);
}

export function measuredText(summary: ChaosSummary): string {
  const { machine, load, faults, builds, planned, complaints } = summary;
  const minutes = (summary.durationMs / 60_000).toFixed(0);
  const short = planned.builds > builds.judged ? ` Planned were ${planned.builds} builds; the time was up before.` : '';
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
    `${summary.startedAt.slice(0, 10)}, ${minutes} minutes on ${machine.cpus} processors (${machine.model}, ${machine.memoryGb} GB, ${machine.platform}, Node ${machine.node}), load ${load.mean} on average, at most ${load.max}.`,
    `${builds.judged} builds in ${builds.attempts} attempts met ${faults.injected} faults; ${faults.missed} more came too late and are not counted. The controller was restarted ${summary.outages} times.${short}`,
    '',
    table([['promised', 'measured', 'kept'], ...promises]),
    '',
    table(faultRows(summary).map(([kind = '', , ...rest]) => [kind, ...rest])),
  ];
  if (complaints.length > 0)
    lines.push(
      '',
      'Everything that was not as it must be:',
      '',
      ...complaints.flatMap(({ build, kind, complaints: texts }) =>
        texts.map((text) => `- build ${build} (${kind ?? 'no fault'}): ${plain(text)}`),
      ),
    );
  return lines.join('\n');
}

/** Throws if the document has no such markers. */
export function withSection(document: string, name: string, text: string): string {
  const section = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(\n<!-- /${name} -->)`);
  if (!section.test(document)) throw new Error(`docs/reliability.md has no <!-- ${name} -->`);
  return document.replace(section, (_, before: string, after: string) => `${before}${text}${after}`);
}

const plain = (text: string) => text.replaceAll(/[\s|<>]+/g, ' ').slice(0, COMPLAINT_MAX);

function table([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`.replaceAll(/ {2,}/g, ' ');
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

if (import.meta.main) {
  const [file] = process.argv.slice(2);
  if (!file) throw new Error('name the file that `npm run chaos -- --json FILE` has written');
  const summary = JSON.parse(await readFile(resolve(process.env.INIT_CWD ?? '.', file), 'utf8')) as ChaosSummary;
  const path = join(PROJECT_ROOT, 'docs', 'reliability.md');
  const filled = withSection(await readFile(path, 'utf8'), 'expected', expectedTable());
  await writeFile(path, withSection(filled, 'measured', measuredText(summary)));
}
