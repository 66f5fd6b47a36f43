/**
 * Measures a log that grows at a given speed in a VM and passes through the agent and the controller to a
 * follower: how late each line is, and the CPU. The log is shorter than the limit of a live log, so that
 * every byte is followed.
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LOG_COMPLETE_HEADER } from '#contract';
import { type Farm, startFarm } from '../local/farm/farm.ts';
import { cpuSeconds, workerdBelow } from './usage.ts';

const MB = 1_000_000;
const LOG_BYTES = 45 * MB;
const WAIT_MS = 300_000;
/** Each chunk begins with the time at which it is printed. */
const SCRIPT = `use Time::HiRes qw(time sleep); $| = 1;
my ($rate, $bytes) = @ARGV; my $filler = ("x" x 99 . "\\n") x 1000; my ($start, $sent) = (time, 0);
while ($sent < $bytes) {
  my $due = $rate * (time - $start) - $sent; $due = 90_000 if $due > 90_000;
  if ($due > 0) { my $chunk = sprintf("%.3f\\n%s", time, substr($filler, 0, 100 * int($due / 100 + 1))); print $chunk; $sent += length $chunk }
  sleep 0.01;
}
`;

interface LogRow {
  mbPerS: number;
  /** The speed from the first to the last chunk, as the script printed them. */
  printedMbPerS: number;
  delayMs: { p50: number; p95: number; max: number };
  /** The share of one core while the log was printed and followed. */
  agentCpu: number;
  workerdCpu: number;
}

export async function benchLogs(ratesMbPerS: readonly number[], onRow: (row: LogRow) => void): Promise<void> {
  await using farm = await startFarm();
  const project = join(farm.dir, 'bench-project');
  await mkdir(project);
  await writeFile(join(project, 'print.pl'), SCRIPT);
  for (const rate of ratesMbPerS) onRow(await benchRate(farm, project, rate));
}

async function benchRate(farm: Farm, project: string, rate: number): Promise<LogRow> {
  // The pause gives the follower time to connect before the first line.
  const command = `echo begun; sleep 5; perl print.pl ${rate * MB} ${LOG_BYTES}`;
  const { id } = await farm.submit({ command, platform: 'ios' }, project);
  const signal = AbortSignal.timeout(WAIT_MS);
  const [agent, workerd] = [[farm.mac().agent!.pid!], workerdBelow(farm.dir)];
  const delays: number[] = [];
  const times: number[] = [];
  const hash = createHash('sha256');
  let [agentCpu, workerdCpu, startedAt] = [0, 0, 0];
  let rest = '';
  for await (const text of farm.api.followLog(id, signal)) {
    const now = Date.now();
    hash.update(text);
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      if (!/^\d{10}\.\d{3}$/.test(line)) continue;
      if (times.length === 0) [agentCpu, workerdCpu, startedAt] = [cpuSeconds(agent), cpuSeconds(workerd), now];
      times.push(Number(line));
      delays.push(now - Number(line) * 1_000);
    }
  }
  const seconds = (Date.now() - startedAt) / 1_000;
  agentCpu = (cpuSeconds(agent) - agentCpu) / seconds;
  workerdCpu = (cpuSeconds(workerd) - workerdCpu) / seconds;
  await farm.waitFor(id, ({ status }) => status === 'succeeded', { withinMs: WAIT_MS });
  await assertWhole(farm, id, hash.digest('hex'));
  await farm.waitForWorker('idle', 0, { withinMs: WAIT_MS });
  delays.sort((a, b) => a - b);
  const at = (share: number) => Math.round(delays[Math.floor((delays.length - 1) * share)]!);
  return {
    mbPerS: rate,
    printedMbPerS: round(LOG_BYTES / MB / (times.at(-1)! - times[0]!)),
    delayMs: { p50: at(0.5), p95: at(0.95), max: at(1) },
    agentCpu: round(agentCpu),
    workerdCpu: round(workerdCpu),
  };
}

/** Throws if the stored log differs from the followed one. */
async function assertWhole(farm: Farm, id: string, sha256: string): Promise<void> {
  const { url, secrets } = farm.controller;
  const headers = { Authorization: `Bearer ${secrets.ADMIN_KEY}` };
  const response = await fetch(`${url}/api/builds/${id}/logs`, { headers, signal: AbortSignal.timeout(WAIT_MS) });
  const kept = createHash('sha256').update(new Uint8Array(await response.arrayBuffer()));
  if (kept.digest('hex') !== sha256) throw new Error(`the stored log of ${id} differs from the followed one`);
  if (response.headers.get(LOG_COMPLETE_HEADER) !== 'true') throw new Error(`the log of ${id} is not complete`);
}

const round = (value: number) => Math.round(value * 100) / 100;
