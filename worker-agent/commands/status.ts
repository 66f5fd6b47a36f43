/**
 * `expo-worker status`: shows what the agent of this Mac is doing, by its own report on disk, and what the
 * controller knows of it, with the time that is left to each deadline. Takes no lock.
 */
import { dirname, join } from 'node:path';
import type { WorkerAttempts } from '#contract';
import { hasProcess } from '../../client/has-process.ts';
import { printable } from '../../client/printable.ts';
import { Connection } from '../../client/request.ts';
import { pause } from '../../client/retry.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { AgentReport, type LastFailure, type SlotReport } from '../agent/status-file.ts';
import { type AgentConfig, loadConfig } from '../config.ts';
import { NOT_OF_A_WORKER } from '../config-findings.ts';
import { EXIT } from '../exit-codes.ts';
import { Images } from '../images/images.ts';
import type { AttemptJournal } from '../state/journal.ts';
import { StateFolder } from '../state/state-folder.ts';
import { createTart } from '../tart/tart.ts';
import { describeImage, type ShownImage, withMissing } from './images.ts';
import { span, timeLeft } from './spans.ts';

/** Shorter than for other commands, because `--watch` asks every two seconds. */
const REQUEST_MS = 5_000;
const WATCH_MS = 2_000;
const CLEAR_SCREEN = '\x1b[H\x1b[2J';

interface Controller {
  reachable: boolean;
  message: string;
  activeAttempts: WorkerAttempts['attempts'];
}

interface Status {
  running: boolean;
  /** The VMs that are kept after a failure, by the journals: the agent need not run. */
  kept: { buildId: string; attempt: number; vmName: string; until: string }[];
  agent: AgentReport | null;
  controller: Controller;
  images: ShownImage[];
}

export interface StatusOptions {
  config: string;
  json: boolean;
  watch: boolean;
}

/** Returns the exit code: a failure unless the agent runs. */
export async function statusCommand({ config: configPath, json, watch }: StatusOptions): Promise<number> {
  const config = await loadConfig(configPath);
  const client = new WorkerClient(
    new Connection({
      url: config.controllerUrl,
      key: config.apiKey,
      requestMs: REQUEST_MS,
    }),
  );
  const stop = new AbortController();
  if (watch) for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  for (;;) {
    const status = await look(configPath, config, client);
    const text = json
      ? JSON.stringify(status, null, watch ? 0 : 2)
      : describe(status, config.controllerUrl, Date.now());
    if (watch && !json && process.stdout.isTTY) process.stdout.write(CLEAR_SCREEN);
    process.stdout.write(`${text}\n`);
    if (watch) await pause(WATCH_MS, stop.signal).catch(() => {});
    if (!watch || stop.signal.aborted) return status.running ? EXIT.ok : EXIT.failure;
  }
}

async function look(configPath: string, config: AgentConfig, client: WorkerClient): Promise<Status> {
  const state = new StateFolder(join(dirname(configPath), 'state'));
  const agent = await state.readAgentReport(AgentReport);
  const running = agent !== null && agent.state !== 'stopped' && hasProcess(agent.pid);
  const tart = createTart(config);
  const images = new Images({ configPath, config, tart, emit: () => {} }).list();
  // The journals of root's agent are closed to this account. While it runs, its report has the same.
  const journals = await state.readAttempts().catch((error) => {
    if (!running) throw error;
    return [];
  });
  const kept = journals.filter((journal) => journal.isKept).map(keptOf);
  return { running, agent, kept, controller: await askController(client), images: await withMissing(images, tart) };
}

function keptOf({ state: { assignment, vmName, kept } }: AttemptJournal): Status['kept'][number] {
  const { buildId, attempt } = assignment;
  return { buildId, attempt, vmName, until: new Date(kept!.untilMs).toISOString() };
}

async function askController(client: WorkerClient): Promise<Controller> {
  const me = await client.me();
  if (!me.ok) return { reachable: me.kind === 'refused', message: me.message, activeAttempts: [] };
  const { workerId } = me.value;
  if (workerId === null) return { reachable: true, message: NOT_OF_A_WORKER, activeAttempts: [] };
  const answer = await client.attempts(workerId);
  if (!answer.ok) return { reachable: answer.kind === 'refused', message: answer.message, activeAttempts: [] };
  return { reachable: true, message: `worker ${workerId}`, activeAttempts: answer.value.attempts };
}

/** Shows times as ages, and as what is left: both count from `nowMs`. */
export function describe({ running, agent, kept, controller, images }: Status, url: string, nowMs: number): string {
  const { reachable, message, activeAttempts } = controller;
  const lines = [
    running
      ? `agent       ${agent!.state}, pid ${agent!.pid}, for ${span(nowMs - Date.parse(agent!.startedAt))}`
      : 'agent       not running; start it with `expo-worker run` or `sudo expo-worker install`',
    `controller  ${reachable ? 'reached' : 'NOT reached'}, ${url}${message && ` (${message})`}`,
  ];
  const slots = running ? agent!.builds : [];
  if (running) {
    lines.push(`slots       ${slots.filter(({ vmGone }) => !vmGone).length} of ${agent!.slots} in use`);
    if (agent!.lastError) lines.push(`last error  ${agent!.lastError}`);
  }
  if (agent?.lastFailure) lines.push(...describeFailure(agent.lastFailure, nowMs));
  lines.push(...images.flatMap(describeImage));
  for (const slot of slots) {
    const active = activeAttempts.find((one) => isSame(one, slot));
    lines.push('', ...describeSlot(slot, active, nowMs), ...deadlinesOf(active, nowMs));
  }
  // A running agent reports and ends the VMs that it keeps. Without one the journals name them.
  for (const { buildId, attempt, vmName, until } of running ? [] : kept) {
    lines.push('', `${buildId}#${attempt}  kept`, `  VM        ${vmName}`, keptLine(buildId, Date.parse(until), nowMs));
    lines.push(`  end       \`expo-worker release ${buildId}\` ends it, because no agent runs`);
  }
  // The controller counts these attempts as running here although the agent knows nothing of them. They end
  // at their deadlines.
  for (const active of activeAttempts) {
    if (slots.some((slot) => isSame(slot, active))) continue;
    lines.push(
      '',
      `${active.buildId}#${active.attempt}  ${active.status} for the controller, unknown to the agent here`,
    );
    lines.push(...deadlinesOf(active, nowMs));
  }
  return lines.map(printable).join('\n');
}

type Key = { buildId: string; attempt: number };
const isSame = (a: Key, b: Key) => a.buildId === b.buildId && a.attempt === b.attempt;

type ActiveAttempt = Controller['activeAttempts'][number];

function describeFailure({ buildId, attempt, at, verdict, explained }: LastFailure, nowMs: number): string[] {
  const first = `last failed ${buildId}#${attempt}, ${verdict}, ${span(nowMs - Date.parse(at))} ago`;
  return explained ? [first, `            ${explained}`] : [first];
}

function describeSlot(slot: SlotReport, active: ActiveAttempt | undefined, nowMs: number): string[] {
  const { buildId, attempt, vmName, stage, step, beatAt, vmBeatAt, result, lastError, keptUntil, vmGone } = slot;
  const ago = (at: string | null) => (at === null ? 'none yet' : `${span(nowMs - Date.parse(at))} ago`);
  const rows = [
    `${buildId}#${attempt}  ${result ?? (keptUntil ? 'kept' : (stage ?? 'starting'))}${progressOf(slot, active, nowMs)}`,
    ...projectOf(active),
    `  VM        ${vmGone ? 'gone' : vmName}`,
    ...(keptUntil ? [keptLine(buildId, Date.parse(keptUntil), nowMs)] : []),
    `  step      ${step ?? 'none'}`,
    `  beats     agent ${ago(beatAt)}, VM ${ago(vmBeatAt)}`,
  ];
  return lastError ? [...rows, `  error     ${lastError}`] : rows;
}

const keptLine = (buildId: string, untilMs: number, nowMs: number): string =>
  `  kept      for ${timeLeft(untilMs, nowMs)} more, until ${new Date(untilMs).toISOString()}; \`expo-worker shell ${buildId}\``;

/** Nothing if the controller does not know the attempt, or is older. */
const projectOf = (active: ActiveAttempt | undefined): string[] =>
  active?.project === undefined
    ? []
    : [`  project   ${active.project}${active.trusted ? '' : ", a stranger's source (not trusted)"}`];

/** The controller's figure if there is one, because it knows what scripts in the VM have said. */
function progressOf(slot: SlotReport, active: ActiveAttempt | undefined, nowMs: number): string {
  const percent = active?.progress?.percent ?? slot.percent;
  const phase = active?.progress ? active.phase : slot.phase;
  const leftMs = active?.endExpectedAt ? Date.parse(active.endExpectedAt) - nowMs : 0;
  const left = leftMs > 0 ? `, about ${span(leftMs)} left` : '';
  return percent === null ? '' : `, ${percent} %${phase ? ` ${phase}` : ''}${left}`;
}

function deadlinesOf(active: ActiveAttempt | undefined, nowMs: number): string[] {
  return (active?.deadlines ?? []).map(({ name, verdict, at }, index) => {
    const leftMs = Date.parse(at) - nowMs;
    const left = leftMs > 0 ? `in ${span(leftMs)}` : 'passed';
    return `  ${index === 0 ? 'deadlines' : '         '} ${name.padEnd(16)} ${`${left},`.padEnd(13)} then ${verdict}`;
  });
}
