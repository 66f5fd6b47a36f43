/**
 * Runs the plan: streams the builds through a farm of simulated Macs, injects the faults, and judges each
 * build once it is complete.
 *
 * Invariant: each submitted build is judged exactly once, also a stuck one. When the run settles, every
 * process of the farm has ended, or is counted as left behind.
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BuildDetail, LOG_COMPLETE_HEADER } from '#contract';
import { packSource } from '../../client/packing/pack-source.ts';
import { persistently, within } from '../../client/retry.ts';
import { type Farm, startFarm } from '../farm/farm.ts';
import { processesBelow } from '../farm/leftovers.ts';
import { keepTrusted } from '../farm/quarantine.ts';
import { ARTIFACT, commandOf, rightBytes, SCRIPT, SCRIPT_TEXT } from './builds.ts';
import { faultOf } from './faults/catalogue.ts';
import { Injector, type Watched } from './injector.ts';
import { isEvidenceDue, type Judgement, judgeChaos, type LogFacts } from './judge.ts';
import { type Left, leftOnMacs, vmsLeftOf } from './leftovers.ts';
import { MacNetwork } from './network.ts';
import type { PlannedBuild } from './plan.ts';
import type { RunFacts } from './summary.ts';

/** Has deadlines of seconds. Everything else is as in the deployed controller. */
const ENTRY = 'local/chaos/worker.ts';
/** The request of that entry that reports wrong rows of `project_load`. */
const WRONG_LOADS_PATH = '/chaos/wrong-loads';
const POLL_MS = 2_500;
/** A build is stuck if it runs this much longer than all its own limits. */
const SLACK_MS = 120_000;
/** How long we wait after the end for the evidence, the seal of the log and the end of the VM. */
const SETTLE_MS = 60_000;
/** How long we ask a controller that does not answer. */
const PATIENCE = { giveUpAfterMs: SLACK_MS, pauseMs: POLL_MS };
const LOAD_EVERY_MS = 5_000;
const REQUEST_MS = 15_000;
/**
 * More builds than Macs are in progress, because some builds wait, for example for another Mac than that of
 * their first attempt. So each Mac always finds a build at once.
 */
const STREAMS_PER_MAC = 1.7;

interface ChaosRun {
  plan: readonly PlannedBuild[];
  workers: number;
  /** After this time no further build is submitted. */
  limitMs: number;
  keep: boolean;
  signal: AbortSignal;
  onBegin: (begun: Pick<Farm, 'dir' | 'macs'>) => void;
  /** Called once for each build, also for a stuck one. */
  onJudged: (judgement: Judgement) => void;
  onNote: (text: string) => void;
}

export type Measured = Omit<RunFacts, 'command' | 'seed'>;

/** Resolves with the judgements made so far if the signal aborts. Rejects if the farm cannot be started. */
export async function runChaos(run: ChaosRun): Promise<{ judgements: Judgement[]; measured: Measured }> {
  const { plan, workers, limitMs, keep, signal, onBegin, onJudged, onNote } = run;
  const judgements: Judgement[] = [];
  const loads: number[] = [];
  let left: Left = { vms: [], processes: [] };
  let wrongLoads: string[] | null = null;
  let doctorRuns = 0;
  let startedAt = Date.now();
  let durationMs = 0;
  let injector: Injector | null = null;
  let dir = '';
  const sampling = setInterval(() => loads.push(loadavg()[0]!), LOAD_EVERY_MS);
  try {
    // Outlives the farm, so that its agents can report to the end.
    await using cables = new AsyncDisposableStack();
    await using farm = await startFarm({ workers, entry: ENTRY, keep, signal, onBegin, startAgents: false });
    dir = farm.dir;
    const networks = await Promise.all(farm.macs.map((mac) => MacNetwork.between(mac, farm.controller.url)));
    for (const network of networks) cables.use(network);
    await Promise.all(farm.macs.map((mac) => mac.startAgent(signal)));
    // After a complaint, look into this file first: it has all events of the agents.
    const said = createWriteStream(join(dir, 'events.jsonl'));
    using _saying = farm.listen((event, mac) => said.write(`${JSON.stringify({ mac: mac + 1, ...event })}\n`));
    using striking = new Injector(farm, networks);
    injector = striking;
    using _trusting = keepTrusted(farm, { signal, onDoctor: () => doctorRuns++, onProblem: onNote });
    const sources = await uploadSources(farm);
    onNote(`The farm runs: a controller and ${workers} Macs.`);
    startedAt = Date.now();
    const queue = [...plan];
    const mayGoOn = () => !signal.aborted && Date.now() - startedAt < limitMs;
    const streams = Array.from({ length: Math.ceil(workers * STREAMS_PER_MAC) + 1 }, async () => {
      for (let planned = queue.shift(); planned && mayGoOn(); planned = queue.shift()) {
        const judgement = await runBuild(farm, striking, planned, sources, signal);
        judgements.push(judgement);
        onJudged(judgement);
      }
    });
    const settled = await Promise.allSettled(streams);
    durationMs = Date.now() - startedAt;
    signal.throwIfAborted();
    for (const one of settled) if (one.status === 'rejected') throw one.reason;
    onNote('All builds are judged. Looking for VMs and processes that are left.');
    left = await leftOnMacs(farm, SETTLE_MS, signal);
    wrongLoads = await readWrongLoads(farm);
  } catch (error) {
    if (!signal.aborted) throw error;
    durationMs ||= Date.now() - startedAt;
  } finally {
    clearInterval(sampling);
  }
  if (dir) left.processes.push(...processesBelow(dir).map(({ pid }) => `process ${pid}, after the farm was stopped`));
  const measured: Measured = {
    planned: { builds: plan.length, faults: plan.filter(({ fault }) => fault !== null).length },
    workers,
    startedAt: new Date(startedAt).toISOString(),
    durationMs,
    machine: {
      cpus: cpus().length,
      model: cpus()[0]?.model.trim() ?? '',
      memoryGb: Math.round(totalmem() / 2 ** 30),
      platform: process.platform,
      node: process.version,
    },
    load: {
      mean: round(loads.reduce((sum, one) => sum + one, 0) / (loads.length || 1)),
      max: round(Math.max(0, ...loads)),
    },
    left,
    wrongLoads,
    outages: injector?.outages.length ?? 0,
    doctorRuns,
    problems: injector?.problems ?? [],
  };
  return { judgements, measured };
}

/** Asks the controller of chaos (worker.ts), because only the controller can read D1 while it runs. */
async function readWrongLoads(farm: Farm): Promise<string[]> {
  const { url, secrets } = farm.controller;
  const answer = await fetch(new URL(WRONG_LOADS_PATH, url), {
    headers: { 'X-API-Key': secrets.ADMIN_KEY },
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  if (!answer.ok) throw new Error(`${WRONG_LOADS_PATH} answered ${answer.status}`);
  return ((await answer.json()) as unknown[]).map((row) => JSON.stringify(row));
}

type Sources = Record<'good' | 'broken', string>;

/** All builds share one source. The source that cannot be unpacked is not an archive. */
async function uploadSources(farm: Farm): Promise<Sources> {
  const project = join(farm.dir, 'chaos-project');
  await mkdir(project);
  await writeFile(join(project, SCRIPT), SCRIPT_TEXT);
  const good = await packSource(project, join(farm.dir, 'chaos-source.tar.gz'));
  const bytes = Buffer.from('no archive\n'.repeat(100));
  const path = join(farm.dir, 'chaos-broken.tar.gz');
  await writeFile(path, bytes);
  const broken = { path, sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  await farm.api.upload(good);
  await farm.api.upload(broken);
  return { good: good.sha256, broken: broken.sha256 };
}

async function runBuild(
  farm: Farm,
  injector: Injector,
  planned: PlannedBuild,
  sources: Sources,
  signal: AbortSignal,
): Promise<Judgement> {
  const { number, shape, maxAttempts, timeouts, fault } = planned;
  const inject = fault ? faultOf(fault.kind).inject : null;
  const source = inject?.on === 'build' && inject.flaw === 'bad_archive' ? 'broken' : 'good';
  const { id } = await persistently({ ...PATIENCE, signal }, () =>
    farm.api.submit({
      source: { sha256: sources[source] },
      command: commandOf(number, shape),
      platform: 'ios',
      artifacts: [ARTIFACT],
      timeouts: timeouts as Record<keyof typeof timeouts, number>,
      maxAttempts,
      labels: { chaos: String(number) },
      idempotencyKey: `chaos-${number}`,
    }),
  );
  const watched = injector.watch(id, planned);
  const submittedAt = Date.now();
  const limitMs = () => maxAttempts * timeouts.buildTimeoutMs! + SLACK_MS + outageMs(injector, submittedAt);
  let build: BuildDetail | null = null;
  while (!build?.endedAt && Date.now() - submittedAt < limitMs()) {
    await sleep(POLL_MS, undefined, { signal });
    build = await farm.api.build(id).catch(() => build);
  }
  await within(watched.settled, SETTLE_MS, signal);
  if (build?.endedAt) build = await aftermath(farm, build, watched, signal);
  else await farm.api.cancel(id).catch(() => {});
  const leakedVms = await vmsLeftOf(farm, id, SETTLE_MS, signal);
  const logs = await Promise.all(
    (build?.attempts ?? []).map(({ attempt }) => readLog(farm, id, number, attempt, signal)),
  );
  const artifacts = await Promise.all((build?.artifacts ?? []).map(({ name }) => readArtifact(farm, id, name, signal)));
  injector.forget(watched);
  const endedAt = build?.endedAt ? Date.parse(build.endedAt) : Date.now();
  return judgeChaos({
    planned,
    fault: watched.fault === 'waiting' ? 'missed' : watched.fault,
    build,
    logs,
    artifacts,
    leakedVms,
    agentAwayMs: watched.agentAwayMs,
    duringOutage: injector.outages.some(
      ({ from, until }) => from <= endedAt && until + timeouts.heartbeatTimeoutMs! * 2 >= submittedAt,
    ),
  });
}

/** Waits for the data that arrives after the verdict: the evidence with its cause, and the end of the log. */
async function aftermath(farm: Farm, ended: BuildDetail, { planned, fault }: Watched, signal: AbortSignal) {
  const giveUpAt = Date.now() + SETTLE_MS;
  const struck = fault === 'injected' ? faultOf(planned.fault!.kind) : null;
  let build = ended;
  for (;;) {
    const sealed = await Promise.all(build.attempts.map(({ attempt }) => isSealed(farm, build.id, attempt, signal)));
    const told = !struck || !isEvidenceDue(struck, build.attempts[0]) || build.attempts[0]!.evidence !== null;
    if ((told && sealed.every(Boolean)) || Date.now() > giveUpAt) return build;
    await sleep(POLL_MS, undefined, { signal });
    build = await farm.api.build(build.id).catch(() => build);
  }
}

const isSealed = (farm: Farm, id: string, attempt: number, signal: AbortSignal): Promise<boolean> =>
  get(farm, `/api/builds/${id}/logs?attempt=${attempt}&limit=1`, signal).then(
    async (response) => {
      await response.arrayBuffer();
      // An attempt that never printed has no log.
      return response.status === 404 || response.headers.get(LOG_COMPLETE_HEADER) === 'true';
    },
    () => false,
  );

async function readLog(
  farm: Farm,
  id: string,
  number: number,
  attempt: number,
  signal: AbortSignal,
): Promise<LogFacts> {
  return persistently({ ...PATIENCE, signal }, async () => {
    const response = await get(farm, `/api/builds/${id}/logs?attempt=${attempt}`, signal);
    const body = Buffer.from(await response.arrayBuffer());
    if (response.status >= 500) throw new Error(`the controller answered ${response.status} to the request for a log`);
    const bytes = response.ok ? body : Buffer.alloc(0);
    const complete = response.headers.get(LOG_COMPLETE_HEADER) === 'true';
    return { attempt, lengthBytes: bytes.length, rightBytes: rightBytes(number, bytes), complete };
  });
}

async function readArtifact(farm: Farm, id: string, name: string, signal: AbortSignal) {
  return persistently({ ...PATIENCE, signal }, async () => {
    const response = await get(farm, `/api/builds/${id}/artifacts/${name}`, signal);
    const bytes = Buffer.from(await response.arrayBuffer());
    if (response.status >= 500)
      throw new Error(`the controller answered ${response.status} to the request for an artifact`);
    return { name, sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length };
  });
}

function get(farm: Farm, path: string, signal: AbortSignal): Promise<Response> {
  const { url, secrets } = farm.controller;
  return fetch(`${url}${path}`, {
    headers: { Authorization: `Bearer ${secrets.ADMIN_KEY}` },
    signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]),
  });
}

const outageMs = ({ outages }: Injector, since: number): number =>
  outages.reduce((sum, { from, until }) => sum + Math.max(0, Math.min(until, Date.now()) - Math.max(from, since)), 0);

const round = (value: number) => Math.round(value * 10) / 10;
