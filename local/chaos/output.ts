/** Prints the output of `npm run chaos`. No other module of chaos prints. */
import { styleText } from 'node:util';
import { printable } from '../../client/printable.ts';
import type { Judgement } from './judge.ts';
import { type ChaosSummary, faultRows, promiseRows } from './summary.ts';

export class ChaosOutput {
  readonly #startedMs = performance.now();
  #judged = 0;
  readonly #planned: number;

  constructor(planned: number) {
    this.#planned = planned;
  }

  note(text: string): void {
    this.#line(styleText('dim', text));
  }

  /** Prints one line for each build, so that a person can follow a run. */
  judged({ number, kind, missed, endings, complaints, causes }: Judgement): void {
    this.#judged++;
    const good = complaints.length === 0;
    const mark = good ? styleText('green', '✓') : styleText('red', '✗');
    const what = kind ?? (missed ? 'no fault (it came too late)' : 'no fault');
    const cause = causes[0] ? ` (${causes[0]})` : '';
    this.#line(
      `${mark} build ${number}, ${this.#judged} of ${this.#planned}: ${what} → ${endings.join(', then ')}${cause}`,
    );
    for (const complaint of complaints) this.#line(`    ${styleText('red', printable(complaint))}`);
  }

  summary(summary: ChaosSummary): void {
    const { builds, faults, load, durationMs, machine, latenessMs } = summary;
    print('');
    table(faultRows(summary).map(([kind = '', , ...rest]) => [kind, ...rest]));
    print('');
    for (const { promise, measured, kept } of promiseRows(summary))
      print(`${kept ? styleText('green', '✓') : styleText('red', '✗')} ${promise}: ${measured}`);
    print('');
    const unsubmitted = summary.planned.builds - builds.judged;
    print(
      `${builds.judged} builds in ${builds.attempts} attempts, ${builds.succeeded} succeeded${unsubmitted > 0 ? `; ${unsubmitted} planned builds were not submitted` : ''}`,
    );
    print(
      `${faults.injected} faults, ${faults.perMinute} a minute; ${faults.missed} came too late and are not counted`,
    );
    print(`controller restarts: ${summary.outages}; runs of the doctor for quarantined Macs: ${summary.doctorRuns}`);
    print(
      `${(durationMs / 60_000).toFixed(1)} min on ${machine.cpus} CPUs (${machine.model}), load ${load.mean} on average, at most ${load.max}`,
    );
    if (load.mean > 2 * machine.cpus && (latenessMs.p99 ?? 0) > 1_000)
      print('The machine was overloaded, which makes verdicts late. Use fewer --workers.');
    if (summary.complaints.length > 0) print('\nEvery wrong result, with its reason:');
    for (const { build, buildId, kind, complaints } of summary.complaints)
      for (const complaint of complaints)
        print(`${styleText('red', '✗')} build ${build} (${kind ?? 'no fault'}, ${buildId}): ${printable(complaint)}`);
    for (const problem of summary.problems) print(`${styleText('yellow', '!')} ${printable(problem)}`);
    for (const left of [...summary.leakedVms, ...summary.leakedProcesses])
      print(styleText('red', `left behind: ${left}`));
    for (const wrong of summary.wrongLoads ?? []) print(styleText('red', `wrong count: ${wrong}`));
  }

  error(text: string): void {
    process.stderr.write(`chaos: ${text}\n`);
  }

  #line(text: string): void {
    print(`${((performance.now() - this.#startedMs) / 1_000).toFixed(1).padStart(7)} s  ${text}`);
  }
}

const print = (text: string) => void process.stdout.write(`${text}\n`);

function table(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows)
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    );
}
