/**
 * Runs the demo, with one function for each of its three forms. Each returns whether everything was as
 * expected.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BuildDetail } from '#contract';
import { type Farm, startFarm } from '../farm/farm.ts';
import { expectedSampleArtifact, SAMPLE_ARTIFACT, SAMPLE_DIR, sampleRequest } from '../farm/sample.ts';
import { FAULT_DEMOS, type FaultDemo, judgeOutcome } from './faults.ts';
import type { DemoOptions, FaultDemoName, ProjectOptions } from './options.ts';
import { type DemoOutput, plain } from './output.ts';
import { fetchArtifacts, type ShownBuild, showBuild } from './show-build.ts';

/** Short, so that a build of seconds has heartbeats to watch. */
const SAMPLE_HEARTBEAT_TIMEOUT_MS = 20_000;
/** Long enough that the fault comes while the build runs. */
const FAULT_PAUSE_SECONDS = 4;
const CAUSE_WITHIN_MS = 30_000;
const IDLE_WITHIN_MS = 60_000;

interface Demo {
  options: DemoOptions;
  output: DemoOutput;
  signal: AbortSignal;
  onBegin: (begun: Pick<Farm, 'dir' | 'macs'>) => void;
}

type Timings = [string, number][];

/** Rejects with the signal's reason when interrupted. When it settles, the demo has left nothing behind. */
export async function runDemo(demo: Demo): Promise<boolean> {
  const { options, output, signal } = demo;
  output.title('Tartbeat on this machine');
  await using farm = await startFarm({
    keep: options.keep,
    signal,
    onBegin: demo.onBegin,
    onPart: (part, detail, durationMs) => output.fact(part, detail, durationMs),
  });
  // Counts from the start of this process.
  const timings: Timings = [['start-up of the demo', performance.now()]];
  const good = options.project
    ? await projectDemo(demo, farm, options.project, timings)
    : options.fault
      ? await faultDemo(demo, farm, options.fault, timings)
      : await sampleDemo(demo, farm, timings);
  timings.push(['whole demo', performance.now()]);
  output.title('Measured');
  output.table(timings);
  output.title('Stopping');
  if (options.keep) output.fact('kept', farm.dir);
  return good;
}

async function sampleDemo(demo: Demo, farm: Farm, timings: Timings): Promise<boolean> {
  const { output } = demo;
  output.title('The sample project');
  const request = { ...sampleRequest(), timeouts: { heartbeatTimeoutMs: SAMPLE_HEARTBEAT_TIMEOUT_MS } };
  const shown = await showBuild({ ...demo, farm, request, projectDir: SAMPLE_DIR });
  note(shown, timings);
  const good = await verifySample(demo, farm, shown.build);
  await untilIdle(demo, farm);
  return good;
}

async function projectDemo(demo: Demo, farm: Farm, project: ProjectOptions, timings: Timings): Promise<boolean> {
  const { output, options, signal } = demo;
  output.title(project.dir);
  const request = { command: project.command, platform: 'ios' as const, artifacts: project.artifacts };
  const shown = await showBuild({ ...demo, farm, request, projectDir: project.dir });
  note(shown, timings);
  const files = await fetchArtifacts(farm, shown.build, options.outputDir!, output, signal);
  for (const { path } of files) output.fact('saved', plain(path));
  await untilIdle(demo, farm);
  return shown.build.status === 'succeeded';
}

async function faultDemo(demo: Demo, farm: Farm, name: FaultDemoName, timings: Timings): Promise<boolean> {
  const { output, signal } = demo;
  const fault = FAULT_DEMOS[name];
  output.title(`Fault ${name}: ${fault.title}`);
  let faultAt = 0;
  if (fault.from === 'boot') {
    farm.mac().faultNextClone(name);
    faultAt = performance.now();
  }
  const inject = async (line: string) => {
    if (fault.from !== 'building' || faultAt !== 0 || !line.startsWith('[2/4]')) return;
    faultAt = performance.now();
    const [vm] = await farm.vms();
    if (!vm) return output.line({ kind: 'fault', mark: 'bad', text: 'the build has no VM for the fault' });
    farm.mac().setFault(vm.name, name);
    faultAt = performance.now();
    output.line({ kind: 'fault', mark: 'warn', text: `${name} injected into ${vm.name}` });
  };
  let verdictAt = 0;
  const request = { ...sampleRequest({ pauseSeconds: FAULT_PAUSE_SECONDS }), timeouts: fault.timeouts };
  const shown = await showBuild({
    ...{ ...demo, farm, request, projectDir: SAMPLE_DIR },
    onLogLine: (line) => void inject(line).catch((error: Error) => output.error(error.message)),
    onEnd: () => {
      verdictAt = performance.now();
    },
  });
  note(shown, timings);

  const { build, idleMs } = await afterFault(demo, farm, shown.build, fault);
  const [attempt] = build.attempts;
  const findings = judgeOutcome(fault, attempt, verdictAt - faultAt);
  if (typeof attempt?.latenessMs === 'number') timings.push(['verdict after its deadline', attempt.latenessMs]);
  timings.push(['fault → verdict', verdictAt - faultAt], ['verdict → worker idle again', idleMs]);
  const left = await farm.vms();
  findings.push(
    { good: true, text: `worker idle again ${(idleMs / 1_000).toFixed(1)} s after the verdict` },
    { good: left.length === 0, text: `VMs in \`tart list\`: ${left.map(({ name }) => name).join(', ') || 'none'}` },
  );

  output.title('The next build');
  const next = await showBuild({
    ...demo,
    farm,
    request: sampleRequest({ pauseSeconds: 0.2 }),
    projectDir: SAMPLE_DIR,
    brief: true,
  });
  const verified = await verifySample(demo, farm, next.build);
  findings.push({
    good: verified,
    text: `the next build ${next.build.status}${verified ? ', and its artifact is right' : ''}`,
  });
  await untilIdle(demo, farm);
  signal.throwIfAborted();

  output.title('Expected and found');
  for (const { good, text } of findings) output.held(good, text);
  return findings.every(({ good }) => good);
}

/** Waits for the cause of a verdict, and until the worker reports that it is free. */
async function afterFault({ output, signal }: Demo, farm: Farm, ended: BuildDetail, { expected }: FaultDemo) {
  const begin = performance.now();
  const options = { signal, withinMs: CAUSE_WITHIN_MS };
  const idle = farm
    .waitForWorker('idle', 0, { signal, withinMs: IDLE_WITHIN_MS })
    .then(() => performance.now() - begin);
  idle.catch(() => {});
  const build = expected.cause
    ? await farm.waitFor(ended.id, ({ cause }) => cause !== null, options).catch(() => ended)
    : ended;
  signal.throwIfAborted();
  if (build.cause) output.line({ kind: 'cause', text: `${build.cause.code}. ${build.cause.explanation}` });
  const idleMs = await idle;
  output.line({ kind: 'worker', mark: 'good', text: 'idle' });
  return { build, idleMs };
}

/** Compares the artifact's bytes with the bytes that the sources must give. */
async function verifySample({ output, options, signal }: Demo, farm: Farm, build: BuildDetail): Promise<boolean> {
  const dir = options.outputDir ?? join(farm.dir, 'artifacts', build.id);
  await mkdir(dir, { recursive: true });
  const files = await fetchArtifacts(farm, build, dir, output, signal);
  const bundle = files.find(({ name }) => name === SAMPLE_ARTIFACT);
  const right = bundle !== undefined && (await readFile(bundle.path)).equals(await expectedSampleArtifact());
  const text = bundle ? 'every byte is right' : `the build stored no ${SAMPLE_ARTIFACT}`;
  output.line({
    kind: 'verified',
    mark: right ? 'good' : 'bad',
    text: bundle && !right ? 'its bytes are wrong' : text,
  });
  if (bundle && options.outputDir) output.fact('saved', bundle.path);
  return right;
}

async function untilIdle({ output, signal }: Demo, farm: Farm): Promise<void> {
  await farm.waitForWorker('idle', 0, { signal, withinMs: IDLE_WITHIN_MS });
  while ((await farm.vms()).length > 0) await sleep(100, undefined, { signal });
  output.line({ kind: 'worker', mark: 'good', text: 'idle, no VM left' });
}

function note({ toStartMs, bootMs }: ShownBuild, timings: Timings): void {
  if (toStartMs === null) return;
  timings.push(
    ['request → build start', toStartMs],
    ["request → build start, without the VM's boot", toStartMs - bootMs],
  );
}
