/**
 * Kills agents and controllers in the middle of transfers, one in each build, and compares the received bytes
 * with the expected ones.
 *
 * Invariant: a build counts if its kill came while its attempt was on its Mac. Every byte of each such build
 * is compared. A kill of the controller affects the builds of all Macs, and counts once.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Parser } from 'tar';
import { type BuildDetail, LOG_COMPLETE_HEADER } from '#contract';
import { persistently } from '../client/retry.ts';
import type { TimedAgentEvent } from '../local/farm/agent-process.ts';
import { type Farm, startFarm } from '../local/farm/farm.ts';
import {
  ARTIFACT_GLOBS,
  blockOf,
  commandOf,
  fileSha256s,
  logSha256,
  MOMENTS,
  type PlannedKill,
  planKill,
  SCRIPT,
  SCRIPT_TEXT,
  TREE,
  TREE_FILE,
} from './kills-plan.ts';

/** A build that takes longer than this is stuck. */
const BUILD_MS = 10 * 60_000;
const POLL_MS = 500;
/** How long we ask a controller that does not answer. */
const PATIENCE = { giveUpAfterMs: BUILD_MS, pauseMs: POLL_MS };
const REQUEST_MS = 60_000;
const CONTROLLER_AWAY_MAX_MS = 2_000;
const START_TRIES_MAX = 5;

export interface KillOutcome {
  plan: PlannedKill;
  /** False if the attempt had left its Mac before the kill. */
  struck: boolean;
  /** The verdicts of attempts that were retried because of the infrastructure. No kill should cause one. */
  retried: string[];
  /** Every difference from the expected result. Empty if there is none. */
  complaints: string[];
}

interface KillsOptions {
  seed: number;
  /** How many kills must strike. */
  runs: number;
  /** The number of the first build, to continue a plan that was interrupted. */
  from?: number;
  workers: number;
  /** The Worker to run as the controller. Default: the deployed one. */
  entry?: string;
  signal?: AbortSignal;
  onOutcome?: (outcome: KillOutcome, struck: number) => void;
}

export async function runKills(options: KillsOptions): Promise<KillOutcome[]> {
  const { seed, runs, from = 1, workers, entry, signal = new AbortController().signal, onOutcome } = options;
  const outcomes: KillOutcome[] = [];
  const struck = () => outcomes.filter((one) => one.struck).length;
  await using farm = await startFarm({ workers, entry, ownPools: true, signal });
  const killer = new Killer(farm);
  let number = from - 1;
  let underWay = 0;
  const lanes = farm.macs.map(async (_, macIndex) => {
    // Another build replaces each kill that comes too late.
    while (!signal.aborted && struck() + underWay < runs) {
      underWay++;
      const outcome = await oneBuild(farm, killer, planKill(seed, ++number), macIndex, signal).catch((error) => {
        if (signal.aborted) return null; // the builds that were compared before the abort count
        throw error;
      });
      underWay--;
      if (!outcome) return;
      outcomes.push(outcome);
      onOutcome?.(outcome, struck());
    }
  });
  await Promise.all(lanes);
  return outcomes;
}

class Killer {
  readonly #farm: Farm;
  /** Only one kill of a controller happens at a time. */
  #restarting: Promise<void> = Promise.resolve();

  constructor(farm: Farm) {
    this.#farm = farm;
  }

  /** Resolves when the killed process runs again, with true if the kill came in time. */
  strike({ target, moment, delayMs, number }: PlannedKill, macIndex: number, isIt: (id: string) => boolean) {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    promise.catch(() => {}); // the promise is awaited when the build has ended
    let over = false;
    let begun = false;
    const listening = this.#farm.listen((event, index) => {
      if (index !== macIndex || !('buildId' in event) || event.buildId === undefined || !isIt(event.buildId)) return;
      if (event.attempt !== 1) return;
      if (event.type === 'slot_free') over = true;
      if (begun || !matches(event, MOMENTS[moment])) return;
      begun = true;
      kill().then(resolve, reject);
    });
    const kill = async (): Promise<boolean> => {
      await sleep(delayMs);
      if (target === 'agent') return over ? false : await this.#killAgent(macIndex);
      const turn = this.#restarting.then(async () => {
        if (over) return false;
        await this.#killController(number);
        return true;
      });
      this.#restarting = turn.then(
        () => {},
        () => {},
      );
      return await turn;
    };
    return { struck: promise, [Symbol.dispose]: () => listening[Symbol.dispose]() };
  }

  async #killAgent(macIndex: number): Promise<boolean> {
    const mac = this.#farm.mac(macIndex);
    await mac.killAgent('SIGKILL');
    await mac.startAgent().catch((error) => {
      // If the controller is away too, the agent starts and waits for it.
      if (!mac.agent?.running) throw error;
    });
    return true;
  }

  async #killController(number: number): Promise<void> {
    await this.#farm.killController();
    await sleep((number * 997) % CONTROLLER_AWAY_MAX_MS);
    // On a busy machine the start may need more than one try.
    for (let tries = 1; ; tries++) {
      try {
        return await this.#farm.startController();
      } catch (error) {
        if (tries === START_TRIES_MAX) throw error;
      }
    }
  }
}

const matches = (event: TimedAgentEvent, fields: object): boolean =>
  Object.entries(fields).every(([name, value]) => (event as unknown as Record<string, unknown>)[name] === value);

async function oneBuild(farm: Farm, killer: Killer, plan: PlannedKill, macIndex: number, signal: AbortSignal) {
  const dir = join(farm.dir, `kill-${plan.number}`);
  await mkdir(dir);
  await writeFile(join(dir, SCRIPT), SCRIPT_TEXT);
  await writeFile(join(dir, 'block.bin'), blockOf(plan));
  let buildId: string | null = null;
  // The agent has one slot. So the build that it claims is this one, also while we do not know the id yet.
  using strike = killer.strike(plan, macIndex, (id) => buildId === null || id === buildId);
  const request = {
    command: commandOf(plan),
    platform: 'ios' as const,
    pool: `mac-${macIndex + 1}`,
    artifacts: ARTIFACT_GLOBS,
    maxAttempts: 2,
    idempotencyKey: `kill-${plan.seed}-${plan.number}`,
  };
  buildId = (await persistently({ ...PATIENCE, signal }, () => farm.submit(request, dir, signal))).id;
  const build = await ended(farm, buildId, signal);
  const struck = await Promise.race([strike.struck, sleep(POLL_MS, false)]);
  const complaints =
    build.endedAt === null ? [`stuck: the build is ${build.status}`] : await compare(farm, build, plan, dir, signal);
  const idle = () => farm.waitForWorker('idle', macIndex, { withinMs: BUILD_MS, signal });
  await persistently({ ...PATIENCE, signal }, idle).catch((error: Error) => {
    complaints.push(error.message);
  });
  await rm(dir, { recursive: true, force: true });
  const retried = build.attempts.slice(0, -1).map(({ verdict }) => `${verdict?.code} ${verdict?.step ?? ''}`.trim());
  return { plan, struck, retried, complaints };
}

/** Waits until the build has ended, or until its time is over. */
async function ended(farm: Farm, buildId: string, signal: AbortSignal): Promise<BuildDetail> {
  for (const giveUpAt = Date.now() + BUILD_MS; ; ) {
    const build = await persistently({ ...PATIENCE, signal }, () => farm.api.build(buildId));
    if (build.endedAt !== null || Date.now() > giveUpAt) return build;
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function compare(farm: Farm, build: BuildDetail, plan: PlannedKill, dir: string, signal: AbortSignal) {
  const complaints: string[] = [];
  const { code, message } = build.verdict ?? {};
  if (build.status !== 'succeeded')
    complaints.push(`${build.status} after ${build.attempts.length} attempts: ${code ?? ''} ${message ?? ''}`);
  const log = await readLog(farm, build.id, signal);
  if (!log.complete) complaints.push('the log was never sealed as complete');
  if (log.sha256 !== logSha256(plan))
    complaints.push(`the log differs from the output of the build, ${log.sizeBytes} bytes`);

  const expected = fileSha256s(plan);
  const last = build.artifacts.filter(({ attempt }) => attempt === build.attempt);
  const found = new Map(last.map(({ name, sha256 }) => [name, sha256]));
  for (const name of [...expected.keys(), TREE]) if (!found.has(name)) complaints.push(`${name} is missing`);
  for (const name of found.keys()) {
    const path = join(dir, 'download');
    // `download` compares the file with the hash that the controller reports.
    const { sha256 } = await persistently({ ...PATIENCE, signal }, () =>
      farm.api.download(build.id, name, path, signal),
    );
    if (name === TREE) complaints.push(...(await treeComplaints(path, blockOf(plan))));
    else if (sha256 !== expected.get(name)) complaints.push(`${name} differs from the file that the build made`);
    await rm(path);
  }
  return complaints;
}

/** Reads the log when it is complete. If it never completes, reads the part that exists. */
async function readLog(farm: Farm, buildId: string, signal: AbortSignal) {
  for (const giveUpAt = Date.now() + REQUEST_MS; ; ) {
    const log = await persistently({ ...PATIENCE, signal }, async () => {
      const { url, secrets } = farm.controller;
      const response = await fetch(`${url}/api/builds/${buildId}/logs`, {
        headers: { Authorization: `Bearer ${secrets.ADMIN_KEY}` },
        signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]),
      });
      if (!response.ok) throw new Error(`the controller answered ${response.status} to the request for a log`);
      const bytes = new Uint8Array(await response.arrayBuffer());
      const complete = response.headers.get(LOG_COMPLETE_HEADER) === 'true';
      return { complete, sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
    });
    if (log.complete || Date.now() > giveUpAt) return log;
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function treeComplaints(path: string, block: Buffer): Promise<string[]> {
  const entries = new Map<string, { type: string; sha256: string }>();
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      const hash = createHash('sha256');
      entry.on('data', (chunk: Buffer) => hash.update(chunk));
      entry.on('end', () =>
        entries.set(entry.path.replace(/^\.\//, ''), { type: entry.type, sha256: hash.digest('hex') }),
      );
    },
  });
  const end = Promise.withResolvers<void>();
  parser.on('error', end.reject).on('end', end.resolve);
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) parser.write(chunk);
  parser.end();
  await end.promise;
  const complaints: string[] = [];
  if (entries.get(TREE_FILE)?.sha256 !== createHash('sha256').update(block).digest('hex'))
    complaints.push(`${TREE_FILE} in ${TREE} differs from the file that the build made`);
  if (entries.get('tree/link')?.type !== 'SymbolicLink') complaints.push(`the link in ${TREE} is missing`);
  return complaints;
}
