/**
 * Measures how fast files and logs move, and the memory and CPU that they need. Everything runs on this
 * machine: real workerd, R2, Durable Objects and agent, and a simulated VM.
 *
 *   npm run bench:transfer -- [--sizes 1,100,1024] [--rates 1,10,20]      sizes in MiB, rates in MB/s
 */
import { mkdtemp, realpath, rm, statfs } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { endProcessesBelow } from '../local/farm/leftovers.ts';
import { benchFiles } from './transfer-files.ts';
import { benchLogs } from './transfer-logs.ts';

/** The file, its download, and two copies in R2. */
const COPIES = 4;
const SPARE_MIB = 2_048;

const { values } = parseArgs({
  options: { sizes: { type: 'string', default: '1,100,1024' }, rates: { type: 'string', default: '1,10,20' } },
});
const numbers = (list: string) => list.split(',').filter(Boolean).map(Number);
const [sizes, rates] = [numbers(values.sizes), numbers(values.rates)];

const dir = await realpath(await mkdtemp(join(tmpdir(), 'tartbeat-transfer-')));
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => {
    endProcessesBelow(dir);
    process.exit(130);
  });
try {
  const { bavail, bsize } = await statfs(dir);
  const freeMib = Math.floor((bavail * bsize) / 2 ** 20);
  const neededMib = sizes.reduce((sum, size) => sum + size, 0) * COPIES + SPARE_MIB;
  if (freeMib < neededMib)
    throw new Error(
      `${dir} has ${freeMib} MiB free, but ${neededMib} MiB are needed. Set TMPDIR to a folder with more space.`,
    );
  console.log(`${cpus().length} CPUs (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}\n`);
  if (sizes.length > 0) {
    console.log(
      '| file | way | MiB/s | plain R2 stream | time, of plain | agent, peak MiB | workerd, peak MiB | workerd, plain |',
    );
    console.log('|---|---|---|---|---|---|---|---|');
    await benchFiles(
      dir,
      sizes,
      ({ sizeMib, way, mibPerS, plainMibPerS, ratio, agentMib, workerdMib, plainWorkerdMib }) =>
        console.log(
          `| ${sizeMib} MiB | ${way} | ${mibPerS} | ${plainMibPerS} | ${ratio} × | ${agentMib} | ${workerdMib} | ${plainWorkerdMib} |`,
        ),
    );
  }
  if (rates.length > 0) {
    console.log('\n| log | printed at | delay p50 | p95 | max | agent CPU | workerd CPU |');
    console.log('|---|---|---|---|---|---|---|');
    await benchLogs(rates, ({ mbPerS, printedMbPerS, delayMs, agentCpu, workerdCpu }) =>
      console.log(
        `| ${mbPerS} MB/s | ${printedMbPerS} MB/s | ${delayMs.p50} ms | ${delayMs.p95} ms | ${delayMs.max} ms | ${agentCpu} | ${workerdCpu} |`,
      ),
    );
  }
  console.log(`\nload at the end: ${loadavg()[0]!.toFixed(1)}`);
} finally {
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
}
