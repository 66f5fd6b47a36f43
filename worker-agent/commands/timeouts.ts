/** `expo-worker status --timeouts`: proposes limits for builds, from how long the last ones took here. */
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { loadConfig } from '../config.ts';
import { NOT_OF_A_WORKER } from '../config-findings.ts';
import { CommandError } from '../exit-codes.ts';
import { REQUEST_MS } from '../time-limits.ts';
import { BUILDS_MIN, type Proposal, proposeTimeouts } from './timeout-proposals.ts';

export async function timeoutsCommand({ config: path, json }: { config: string; json: boolean }): Promise<void> {
  const config = await loadConfig(path);
  const { controllerUrl: url, apiKey: key } = config;
  const client = new WorkerClient(new Connection({ url, key, requestMs: REQUEST_MS }));
  const me = await client.me();
  if (!me.ok) throw new CommandError(`${url}: ${me.message}`);
  if (me.value.workerId === null) throw new CommandError(NOT_OF_A_WORKER);
  const answer = await client.durations(me.value.workerId);
  if (!answer.ok) throw new CommandError(`${url}: ${answer.message}`);
  const proposals = proposeTimeouts(answer.value.attempts);
  process.stdout.write(json ? `${JSON.stringify(proposals, null, 2)}\n` : describe(proposals));
}

function describe(proposals: readonly Proposal[]): string {
  if (proposals.length === 0)
    return `Nothing to propose yet: fewer than ${BUILDS_MIN} builds have succeeded on this worker.\n`;
  const rows = [
    ['', 'builds', 'median', 'slowest', 'now', 'proposed'],
    ...proposals.map(({ name, builds, medianMs, slowestMs, presentMs, proposedMs }) => [
      name,
      String(builds),
      seconds(medianMs),
      seconds(slowestMs),
      presentMs === null ? 'off' : seconds(presentMs),
      seconds(proposedMs),
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const table = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  const timeouts = Object.fromEntries(proposals.map(({ name, proposedMs }) => [name, proposedMs]));
  return `${table.join('\n')}\n\nSubmit builds with: "timeouts": ${JSON.stringify(timeouts)}\n`;
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
