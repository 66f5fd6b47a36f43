/**
 * Shows one build of the demo as it happens: the events of its agent, the VM's heartbeats as the controller
 * counts them, and the log as the build prints it.
 */
import { rm } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArtifactName, type BuildDetail, type BuildRequestInput, type Live } from '#contract';
import type { LocalFile } from '../../client/blob-requests.ts';
import type { BuildsClient } from '../../client/builds-client.ts';
import { packSource } from '../../client/packing/pack-source.ts';
import { LEFT_OUT } from '../../client/project/project-files.ts';
import { within } from '../../client/retry.ts';
import { stepInWords } from '../../worker-agent/events.ts';
import type { TimedAgentEvent } from '../farm/agent-process.ts';
import type { Farm } from '../farm/farm.ts';
import { type DemoOutput, type Line, plain } from './output.ts';

const POLL_MS = 250;
/** How long we wait for the last lines of the log after the end. */
const LAST_LINES_MS = 3_000;
/** How long we wait for the agent's evidence from the VM after a verdict of the controller. */
const EVIDENCE_MS = 20_000;
/** The steps of the VM's boot. The other steps are Tartbeat's own work. */
export const BOOT_STEPS: readonly string[] = ['clone', 'set', 'run', 'address', 'ssh'];

export interface ShownBuild {
  build: BuildDetail;
  /** From the submission until the build command ran. Null if it never ran. */
  toStartMs: number | null;
  /** The part of `toStartMs` that the VM's boot took. */
  bootMs: number;
}

interface ShowOptions {
  farm: Farm;
  output: DemoOutput;
  request: Omit<BuildRequestInput, 'source'>;
  projectDir: string;
  signal: AbortSignal;
  /** Leaves out steps and heartbeats. */
  brief?: boolean;
  /** Called for each line of the log. */
  onLogLine?: (line: string) => void;
  /** Called when the end of the build is seen. */
  onEnd?: () => void;
}

/** Submits the build, and shows everything until it ends. */
export async function showBuild(options: ShowOptions): Promise<ShownBuild> {
  const { farm, output, request, projectDir, signal, brief = false } = options;
  const archive = await packSource(projectDir, join(farm.dir, 'source.tar.gz'));
  output.startClock();
  await farm.api.upload(archive, signal);
  const { id, timeouts } = await farm.api.submit({ ...request, source: { sha256: archive.sha256 } });
  output.line({ kind: 'submitted', text: `${id}: ${request.command}` });
  if (!brief) {
    output.line({
      kind: 'source',
      text: `${archive.sizeBytes} bytes, sha256 ${archive.sha256}, without ${LEFT_OUT.join(' and ')}`,
    });
    const silenceS = (timeouts.heartbeatTimeoutMs ?? 0) / 1_000;
    const boot = request.timeouts?.bootTimeoutMs ? `; at most ${request.timeouts.bootTimeoutMs / 1_000} s to boot` : '';
    output.line({
      kind: 'intervals',
      text: `a heartbeat every ${silenceS / 4} s; a verdict after ${silenceS} s of silence${boot}`,
    });
  }

  let bootMs = 0;
  using _events = farm.listen((event) => {
    if (!('buildId' in event) || event.buildId !== id) return;
    if (event.type === 'step' && event.status !== 'started' && BOOT_STEPS.includes(event.step))
      bootMs += event.durationMs ?? 0;
    showEvent(event, output, brief);
  });
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  let live: Live | null = null;
  const log = showLog(farm.api, id, either, (line) => {
    output.log(plain(line));
    options.onLogLine?.(line);
  });
  try {
    let build = await farm.api.build(id);
    while (build.endedAt === null) {
      await sleep(POLL_MS, undefined, { signal });
      build = await farm.api.build(id);
      if (!brief && build.live?.vmBeatAt && build.live.vmBeatAt !== live?.vmBeatAt) showVmBeat(build.live, output);
      live = build.live;
    }
    options.onEnd?.();
    await within(log, LAST_LINES_MS, signal);
    build = await withWaiting(farm.api, build, signal);
    showVerdict(build, output);
    const { createdAt, startedAt } = build;
    return { build, bootMs, toStartMs: startedAt === null ? null : Date.parse(startedAt) - Date.parse(createdAt) };
  } finally {
    over.abort();
    await log;
  }
}

/** The agent looks for waiting processes only after the verdict. The build's message names them then. */
async function withWaiting(api: BuildsClient, ended: BuildDetail, signal: AbortSignal): Promise<BuildDetail> {
  const giveUpAt = performance.now() + EVIDENCE_MS;
  let build = ended;
  while (build.verdict?.code === 'no_output' && !build.attempts.at(-1)?.evidence && performance.now() < giveUpAt) {
    await sleep(POLL_MS, undefined, { signal });
    build = await api.build(build.id);
  }
  return build;
}

/** Fetches all artifacts and compares them with the API's figures. Throws if one differs. */
export async function fetchArtifacts(
  { api }: Pick<Farm, 'api'>,
  { id, artifacts }: BuildDetail,
  dir: string,
  output: DemoOutput,
  signal: AbortSignal,
): Promise<(LocalFile & { name: string })[]> {
  const files: (LocalFile & { name: string })[] = [];
  for (const { name, sha256, size } of artifacts) {
    const path = pathBelow(dir, name);
    // An earlier demo may have left this file, and a download replaces nothing.
    await rm(path, { force: true });
    const file = await api.download(id, name, path, signal);
    if (file.sha256 !== sha256 || file.sizeBytes !== size)
      throw new Error(
        `${name}: ${file.sizeBytes} bytes with SHA-256 ${file.sha256} arrived, expected are ${size} with ${sha256}`,
      );
    output.line({ kind: 'artifact', mark: 'good', text: `${plain(name)}, ${size} bytes, sha256 ${sha256}` });
    files.push({ ...file, name });
  }
  return files;
}

/** Throws if the name would lead out of the folder. The name comes from a build, so it may be hostile. */
function pathBelow(dir: string, name: string): string {
  const path = resolve(dir, ArtifactName.parse(name));
  const way = relative(dir, path);
  if (way === '..' || way.startsWith(`..${sep}`))
    throw new Error(`the name of an artifact leads out of its folder, so it is not saved: ${name}`);
  return path;
}

function showEvent(event: TimedAgentEvent, output: DemoOutput, brief: boolean): void {
  const line = lineOf(event);
  if (line && !(brief && (line.dim || line.routine))) output.line(line);
}

/** The line for an event. A `routine` line is left out if a build is shown in brief. */
function lineOf(event: TimedAgentEvent): (Line & { routine?: boolean }) | null {
  switch (event.type) {
    case 'claimed':
      return { kind: 'claimed', text: `attempt ${event.attempt}, VM ${event.vmName}` };
    case 'step': {
      if (event.status === 'started') return null;
      const done = event.status === 'done';
      const text = `${stepInWords(event.step)}${event.detail ? `: ${plain(event.detail)}` : ''}`;
      return { kind: 'step', mark: done ? 'good' : 'bad', text, durationMs: event.durationMs, routine: done };
    }
    case 'check': {
      const mark = event.status === 'pass' ? 'good' : event.status === 'fail' ? 'bad' : 'warn';
      // The root of a simulated VM is a folder of this machine. We do not show that folder.
      const detail = plain(event.detail).replace(/^\/.*(?=\/usr\/local\/)/, '');
      const text = `${event.id}: ${event.title} (${detail})`;
      return { kind: 'check', mark, text, durationMs: event.durationMs, routine: mark === 'good' };
    }
    case 'beat': {
      const percent = event.percent === undefined ? '' : `, ${event.percent} %`;
      const outcome = event.accepted ? `${event.stage}${percent}` : `not accepted: ${plain(event.message ?? '')}`;
      return { kind: 'heartbeat', text: `agent, ${outcome}`, durationMs: event.durationMs, dim: true };
    }
    case 'slot_free':
      return { kind: 'VM', mark: 'good', text: 'stopped and deleted; the slot is free' };
    case 'warning':
      return { kind: 'warning', mark: 'warn', text: plain(event.message) };
    default:
      return null;
  }
}

function showVmBeat({ progress, phase }: Live, output: DemoOutput): void {
  const figure = progress ? `, ${progress.percent} % (${ORIGIN_WORDS[progress.origin]})` : '';
  output.line({ kind: 'heartbeat', text: `VM${figure}${phase ? `, ${plain(phase)}` : ''}` });
}

const ORIGIN_WORDS = { script: 'reported by the build', parsed: 'read from the log', time: 'estimated from the time' };

function showVerdict({ status, verdict, endedAt, startedAt }: BuildDetail, output: DemoOutput): void {
  if (!verdict) {
    const tookMs = startedAt && endedAt ? Date.parse(endedAt) - Date.parse(startedAt) : null;
    output.verdict(true, `${status}${tookMs === null ? '' : ` after ${(tookMs / 1_000).toFixed(1)} s of building`}`);
    return;
  }
  const step = verdict.step ? `: ${verdict.step}` : '';
  output.verdict(false, `${verdict.code}${step}. ${verdict.title}`);
  if (verdict.message) output.line({ kind: '', text: plain(verdict.message) });
  if (verdict.explained) {
    const { line, sentence, advice } = verdict.explained;
    output.line({ kind: 'why', text: plain(`${sentence} ${advice}`) });
    output.line({ kind: '', text: plain(line), dim: true });
  }
  if (verdict.tellingLines.length > 0) output.line({ kind: 'why', text: 'these lines of the log may tell why:' });
  for (const line of verdict.tellingLines) output.line({ kind: '', text: plain(line), dim: true });
}

/** Never rejects. If the log cannot be followed, it prints why. */
async function showLog(
  api: BuildsClient,
  buildId: string,
  signal: AbortSignal,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = '';
  try {
    for await (const text of api.followLog(buildId, signal)) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line);
    }
  } catch (error) {
    if (!signal.aborted) onLine(`(the log cannot be followed: ${(error as Error).message})`);
  }
  if (rest) onLine(rest);
}
