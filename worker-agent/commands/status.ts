/** `expo-worker status`: what the agent of this Mac is doing, by its own report on disk, and what the controller thinks of it. Takes no lock. */
import { dirname, join } from 'node:path';
import { loadConfig } from '../config.ts';
import { ControllerClient } from '../controller-client.ts';
import { EXIT } from '../exit-codes.ts';
import { StateFolder } from '../journal.ts';
import { AgentReport, type SlotReport } from '../status-board.ts';

const CONTROLLER_MS = 5_000;

interface Controller {
  reachable: boolean;
  message: string;
  activeAttempts: { buildId: string; attempt: number; status: string }[];
}

/** Answers with the exit code: a failure unless the agent runs. */
export async function statusCommand({ config: configPath, json }: { config: string; json: boolean }): Promise<number> {
  const config = await loadConfig(configPath);
  const report = await new StateFolder(join(dirname(configPath), 'state')).readAgentReport(AgentReport);
  const running = report !== null && report.state !== 'stopped' && isAlive(report.pid);
  const client = new ControllerClient({
    url: config.controllerUrl,
    key: config.apiKey,
    requestMs: CONTROLLER_MS,
    transferStallMs: CONTROLLER_MS,
  });
  const controller = await askController(client);
  const text = json
    ? JSON.stringify({ running, agent: report, controller }, null, 2)
    : describe(running, report, controller, config.controllerUrl);
  process.stdout.write(`${text}\n`);
  return running ? EXIT.ok : EXIT.failure;
}

async function askController(client: ControllerClient): Promise<Controller> {
  const me = await client.me();
  if (!me.ok) return { reachable: me.kind === 'refused', message: me.message, activeAttempts: [] };
  const { workerId } = me.value;
  if (workerId === null) return { reachable: true, message: 'apiKey is not the key of a worker', activeAttempts: [] };
  const answer = await client.attempts(workerId);
  if (!answer.ok) return { reachable: answer.kind === 'refused', message: answer.message, activeAttempts: [] };
  const activeAttempts = answer.value.attempts.map(({ buildId, attempt, status }) => ({ buildId, attempt, status }));
  return { reachable: true, message: `worker ${workerId}`, activeAttempts };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function describe(running: boolean, report: AgentReport | null, controller: Controller, url: string): string {
  const active = controller.activeAttempts.map(({ buildId, attempt, status }) => `${buildId}#${attempt} ${status}`);
  const lines = [
    running
      ? `agent       ${report!.state}, pid ${report!.pid}, since ${report!.startedAt}`
      : 'agent       not running; start it with: expo-worker run',
    `controller  ${controller.reachable ? 'reached' : 'NOT reached'}, ${url}${controller.message && ` (${controller.message})`}`,
    `builds      ${active.join(', ') || 'none by the controller'}`,
  ];
  if (running) {
    const taken = report!.builds.filter(({ vmGone }) => !vmGone).length;
    lines.push(`slots       ${taken} of ${report!.slots} in use`, ...report!.builds.map(describeSlot));
    if (report!.lastError) lines.push(`last error  ${report!.lastError}`);
  }
  return lines.join('\n');
}

function describeSlot({
  buildId,
  attempt,
  stage,
  step,
  percent,
  beatAt,
  vmBeatAt,
  result,
  lastError,
  vmGone,
}: SlotReport): string {
  const parts = [
    `  ${buildId}#${attempt}`,
    result ?? stage ?? 'starting',
    step ?? '',
    percent === null ? '' : `${percent} %`,
    `beat ${beatAt ?? 'none yet'}`,
    `VM beat ${vmBeatAt ?? 'none yet'}`,
    vmGone ? 'VM gone' : '',
    lastError ? `last error: ${lastError}` : '',
  ];
  return parts.filter(Boolean).join(', ');
}
