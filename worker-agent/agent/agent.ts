/**
 * Runs the agent: goes on with what a former run left, then claims builds and reports, until told to leave.
 *
 * Invariant: `drain` ends the claims and waits for the attempts, `stop` ends the attempts too. Either way
 * nothing of ours runs any more when the promise resolves.
 */
import { dirname, join } from 'node:path';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import type { AgentConfig } from '../config.ts';
import type { Emit } from '../events.ts';
import { GB_BYTES } from '../health-checks/figures.ts';
import { roomForClone } from '../images/disk-plan.ts';
import { Fetching } from '../images/fetch.ts';
import { Images } from '../images/images.ts';
import { ImageUpkeep } from '../images/upkeep.ts';
import { diskRoomOf } from '../mac/disk-room.ts';
import { createMac } from '../mac/programs.ts';
import { acquireAgentLock } from '../state/agent-lock.ts';
import { StateFolder } from '../state/state-folder.ts';
import { createTart } from '../tart/tart.ts';
import { AGENT_LIMITS, type AgentLimits } from '../time-limits.ts';
import { Claiming } from './claiming.ts';
import { CloneGrowth } from './clone-growth.ts';
import { findObstacle, vmLimitWords } from './obstacles.ts';
import { Reachability } from './reachability.ts';
import { Readiness } from './readiness.ts';
import { Reporting } from './reporting.ts';
import { SelfCheck } from './self-check.ts';
import { Slots, type SlotsOptions } from './slots.ts';
import { type StartUp, startUp } from './start-up.ts';
import { StatusFile } from './status-file.ts';

export interface AgentOptions {
  config: AgentConfig;
  configPath: string;
  onEvent: Emit;
  /** The first signal. */
  drain: AbortSignal;
  /** The second. */
  stop: AbortSignal;
  /** Leave after the first build. */
  once?: boolean;
  limits?: Partial<AgentLimits>;
}

/** Rejects with AgentLockedError or AgentIdentityError, before anything has been touched. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { config, configPath, onEvent, drain } = options;
  const folder = dirname(configPath);
  using _lock = acquireAgentLock(folder);
  const state = new StateFolder(join(folder, 'state'));
  const { controllerUrl, maxConcurrentBuilds } = config;
  await using statusFile = new StatusFile(state, { controllerUrl, slots: maxConcurrentBuilds });
  const emit: Emit = (event) => {
    statusFile.see(event);
    onEvent(event);
  };
  const limits = { ...AGENT_LIMITS, ...options.limits };
  const { requestMs, transferStallMs } = limits;
  const client = new WorkerClient(
    new Connection({ url: controllerUrl, key: config.apiKey, requestMs, transferStallMs }),
  );
  const tart = createTart(config);
  const started = await startUp({ config, client, tart, state, emit, signal: drain }).catch((error) => {
    if (drain.aborted) return null; // told to leave before it had begun: the next run takes up what is left
    throw error;
  });
  if (!started) return;
  emit({ type: 'started', ...idOf(started), slots: maxConcurrentBuilds, controllerUrl });
  await serve(options, { client, tart, state, limits, emit, started, onLeft: (attempt) => statusFile.forget(attempt) });
  emit({ type: 'stopped' });
}

interface Parts extends Pick<SlotsOptions, 'tart' | 'limits' | 'emit' | 'onLeft'> {
  client: WorkerClient;
  state: StateFolder;
  started: StartUp;
}

/** Resolves when the agent has been told to leave and nothing of ours runs. */
async function serve(
  { config, configPath, drain, stop, once = false }: AgentOptions,
  { client, tart, state, limits, emit, started, onLeft }: Parts,
): Promise<void> {
  const leave = new AbortController();
  const noMore = new AbortController();
  const images = Images.open({ configPath, config, tart, emit });
  const growth = new CloneGrowth(tart);
  const place = { tart, mac: createMac(), config, growth, images };
  const onVmLimit = (message: string, pauseMs: number) => readiness.holdFor(pauseMs, vmLimitWords(message));
  const slots = new Slots({
    ...{ config, tart, workerClient: client, limits, stop, leave: leave.signal, emit, onLeft, onVmLimit },
    drain: AbortSignal.any([drain, stop, noMore.signal]),
    onOutcome: (attempt, outcome) => upkeep.noteOutcome(attempt, outcome),
  });
  const readiness = new Readiness((ours, signal) => findObstacle(place, ours, signal), slots);
  const selfCheck = new SelfCheck({ configPath, images, emit });
  const done = new AbortController();
  const upkeep = new ImageUpkeep({ images, slots, emit, onSwitchedBack: () => selfCheck.switchedBack(done.signal) });
  for (const { journal, action } of started.attempts) slots.start(journal, action, { resumed: true });

  const reachability = new Reachability(emit);
  const fetching = new Fetching({
    ...{ config, stateDir: state.dir, images, tart, emit, roomOf: diskRoomOf },
    clonesBytes: async () => {
      const grownGb = (await growth.of(slots.vms)).map((bytes) => bytes / GB_BYTES);
      return roomForClone(config.minFreeDiskGb, grownGb) * GB_BYTES;
    },
    holdSlot: (vm, signal) => slots.hold(vm, signal),
  });
  const shared = { client, slots, images, fetching, readiness, reachability, ...idOf(started) };
  const reporting = new Reporting({ ...shared, config, configPath, selfCheck });
  const reported = Promise.all([reporting, readiness, upkeep].map((loop) => loop.run(done.signal)));
  leaveAfterStop(stop, limits.stopMs, leave, emit);
  const told = AbortSignal.any([drain, stop]);
  const fetched = fetching.run(AbortSignal.any([told, noMore.signal]));
  await new Claiming({ ...shared, state, emit, vmSlots: config.maxConcurrentBuilds }).run(told, { once });
  noMore.abort();
  emit({ type: 'draining', waitingFor: slots.attempts });
  await Promise.all([slots.settled(), fetched]);
  done.abort();
  await reported;
  await selfCheck.settled();
  await reporting.sendLast();
}

const idOf = ({ workerId, instanceId }: StartUp) => ({ workerId, instanceId });

/** After the second signal the attempts have this long to report and to destroy their VMs. */
function leaveAfterStop(stop: AbortSignal, stopMs: number, leave: AbortController, emit: Emit): void {
  const onStop = () => {
    emit({ type: 'stopping' });
    setTimeout(() => leave.abort(), stopMs).unref();
  };
  if (stop.aborted) onStop();
  else stop.addEventListener('abort', onStop, { once: true });
}
