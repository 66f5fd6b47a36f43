/**
 * Measures how long Tartbeat itself takes on this machine and its simulator: to start, to start a build, to
 * give a verdict.
 *
 *   npm run bench:start [-- --builds N] [-- --freezes N] [-- --macs N]
 *
 * Prints the table of the README. Builds run one after the other against the deployed controller. VMs are
 * frozen during builds under the controller of the fault tests, which allows deadlines of seconds. The
 * lateness of a verdict does not depend on the length of its deadline.
 */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { BuildDetail, BuildRequestInput } from '#contract';
import { BOOT_STEPS } from '../local/demo/show-build.ts';
import { abandonFarm, type Farm, type FarmOptions, startFarm } from '../local/farm/farm.ts';
import { keepTrusted } from '../local/farm/quarantine.ts';
import { SAMPLE_DIR, sampleRequest } from '../local/farm/sample.ts';

const TEST_ENTRY = fileURLToPath(new URL('../test/faults/factories/controller.ts', import.meta.url));
/** Long enough that a VM on a busy machine is not taken for a frozen one. */
const HEARTBEAT_TIMEOUT_MS = 10_000;
/** Long, because a busy machine boots a VM for a minute. */
const WAIT = { withinMs: 300_000 };
const LONG_PAUSE_S = 60;

const { values } = parseArgs({
  options: {
    builds: { type: 'string', default: '5' },
    freezes: { type: 'string', default: '20' },
    macs: { type: 'string', default: '2' },
  },
});
const [buildCount = 0, freezeCount = 0, macCount = 0] = [values.builds, values.freezes, values.macs].map(Number);
if (![buildCount, freezeCount, macCount].every((count) => Number.isInteger(count) && count > 0)) {
  console.error('Give --builds, --freezes and --macs as whole numbers from 1.');
  process.exit(64);
}

let begun: Parameters<typeof abandonFarm>[0] | null = null;
const onBegin: FarmOptions['onBegin'] = (parts) => {
  begun = parts;
};
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(name, () => void (begun ? abandonFarm(begun) : Promise.resolve()).finally(() => process.exit(130)));

const { startUpMs, starts } = await measureStarts();
const freezes = await measureFreezes();
const overhead = starts.map(({ toStartMs, bootMs }) => toStartMs - bootMs);
console.log(`
| measured on ${availableParallelism()} cores, ${process.platform}, Node ${process.versions.node} | median | worst | of |
|---|---|---|---|
${row('start-up of the demo', [startUpMs], seconds)}
${row(
  'request → build start',
  starts.map(({ toStartMs }) => toStartMs),
  seconds,
)}
${row("request → build start, without the VM's boot", overhead, seconds)}
${row(
  'deadline → verdict, VM frozen during the build',
  freezes.map(({ latenessMs }) => latenessMs),
  milliseconds,
)}
${row(
  'verdict → VM deleted, slot free',
  freezes.map(({ freeMs }) => freeMs),
  seconds,
)}`);

/** Measures the times that a user of the demo waits, with the deployed controller. */
async function measureStarts() {
  await using farm = await startFarm({ onBegin });
  // Counts from the start of this process.
  const startUpMs = performance.now();
  const starts: { toStartMs: number; bootMs: number }[] = [];
  while (starts.length < buildCount) {
    let bootMs = 0;
    using _events = farm.listen((event) => {
      if (event.type === 'step' && BOOT_STEPS.includes(event.step)) bootMs += event.durationMs ?? 0;
    });
    const { id } = await farm.submit(sampleRequest({ pauseSeconds: 0 }), SAMPLE_DIR);
    const build = await farm.waitFor(id, ({ endedAt }) => endedAt !== null, WAIT);
    if (build.status !== 'succeeded')
      throw new Error(`build ${build.id} ended as ${build.status}: ${build.verdict?.message}`);
    starts.push({ toStartMs: Date.parse(build.startedAt!) - Date.parse(build.createdAt), bootMs });
    progress('build', starts.length, buildCount);
    await farm.waitForWorker('idle', 0, WAIT);
  }
  return { startUpMs, starts };
}

/** Each Mac freezes one VM after the other until there are enough. */
async function measureFreezes() {
  await using farm = await startFarm({ onBegin, entry: TEST_ENTRY, workers: macCount, ownPools: true });
  // The controller quarantines a Mac that loses three VMs in a row. This operator ends the quarantine.
  using _operator = keepTrusted(farm, {
    signal: new AbortController().signal,
    onDoctor: () => {},
    onProblem: (text) => void process.stderr.write(`${text}\n`),
  });
  const freezes: { latenessMs: number; freeMs: number }[] = [];
  let tries = 0;
  const work = async (index: number) => {
    while (freezes.length < freezeCount && tries++ < 2 * freezeCount) {
      const measured = await freeze(farm, index);
      if (measured && freezes.length < freezeCount) progress('freeze', freezes.push(measured), freezeCount);
    }
  };
  await Promise.all(farm.macs.map((_, index) => work(index)));
  if (freezes.length < freezeCount) throw new Error(`only ${freezes.length} of ${freezeCount} VMs could be frozen`);
  return freezes;
}

/** Returns null if the build ended before its VM could be frozen. */
async function freeze(farm: Farm, index: number) {
  const request: Omit<BuildRequestInput, 'source'> = {
    ...sampleRequest({ pauseSeconds: LONG_PAUSE_S }),
    pool: `mac-${index + 1}`,
    timeouts: { heartbeatTimeoutMs: HEARTBEAT_TIMEOUT_MS },
  };
  const { id } = await farm.submit(request, SAMPLE_DIR);
  const begun = await farm.waitFor(id, ({ status }) => status !== 'queued' && status !== 'assigned', WAIT);
  const [vm] = await farm.vms(index);
  if (!vm || begun.endedAt !== null) {
    process.stderr.write(`${id} has no VM to freeze: ${begun.verdict?.code ?? begun.status}\n`);
    return null;
  }
  const free = Promise.withResolvers<number>();
  using _events = farm.listen((event) => {
    if (event.type === 'slot_free' && event.vmName === vm.name) free.resolve(Date.parse(event.time));
  });
  farm.mac(index).setFault(vm.name, 'freeze');
  const ended: BuildDetail = await farm.waitFor(id, ({ endedAt }) => endedAt !== null, WAIT);
  const { verdict, latenessMs } = ended.attempts[0]!;
  if (verdict?.code !== 'vm_silent' || latenessMs === null)
    throw new Error(`the verdict of a frozen VM is ${verdict?.code}, not vm_silent`);
  return { latenessMs, freeMs: (await free.promise) - Date.parse(ended.endedAt!) };
}

function row(name: string, figures: number[], format: (ms: number) => string): string {
  const sorted = figures.toSorted((a, b) => a - b);
  const median = sorted[Math.floor((sorted.length - 1) / 2)]!;
  return `| ${name} | ${format(median)} | ${format(sorted.at(-1)!)} | ${sorted.length} |`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function milliseconds(ms: number): string {
  return `${Math.round(ms)} ms`;
}

function progress(what: string, done: number, all: number): void {
  process.stderr.write(`${what} ${done} of ${all}\n`);
}
