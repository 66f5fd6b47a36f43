/** Tests what an operator sees of a build that was handed back, and that the agent then pauses. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Report } from '#contract';
import { describe } from '../../../worker-agent/agent/event-printer.ts';
import { StatusFile } from '../../../worker-agent/agent/status-file.ts';
import type { AgentEvent } from '../../../worker-agent/events.ts';
import { StateFolder } from '../../../worker-agent/state/state-folder.ts';
import { agentHost } from '../factories/agent-host.ts';
import { anAssignment } from '../factories/assignment.ts';
import { SHORT_TIMEOUTS, standInController } from '../factories/stand-in-controller.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const SAID = { message: 'tart run: no', handBack: 'vm_limit' } as const;
const REFUSED: AgentEvent = {
  ...{ type: 'result', buildId: 'b1', attempt: 1, outcome: 'failed', verdict: 'vm_start_failed', step: 'run' },
  ...SAID,
};

test('a build that is handed back is told as such, and as no failure', () => {
  expect(describe(REFUSED)).toBe(
    'handed back: macOS allows no further VM on this Mac; the build waits for another Mac, or for this one (tart run: no)',
  );
});

test('a build that is handed back is not the last failure in the status', async () => {
  using dir = temporaryDir();
  const folder = new StateFolder(dir.path);
  await folder.instance();
  {
    await using status = new StatusFile(folder, { controllerUrl: 'http://c', slots: 1 });
    status.see({ ...REFUSED, buildId: 'b0', handBack: undefined });
    status.see(REFUSED);
  }
  expect(JSON.parse(readFileSync(join(dir.path, 'agent.json'), 'utf8'))).toMatchObject({
    lastFailure: { buildId: 'b0', verdict: 'vm_start_failed' },
    builds: [
      { buildId: 'b0', result: 'vm_start_failed' },
      { buildId: 'b1', result: 'handed back' },
    ],
  });
});

test('an agent that restarts before its hand-back is told pauses, too', { timeout: 180_000 }, async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const assignment = anAssignment({ timeouts: { ...SHORT_TIMEOUTS, bootTimeoutMs: 600_000 } });
  const journal = await new StateFolder(host.stateDir).createAttempt(assignment, 'tartbeat-worker-1-b1-1');
  const result = Report.parse({ ...{ type: 'fail', attempt: 1, verdict: 'vm_start_failed', step: 'run' }, ...SAID });
  await journal.update({ phase: 'result_ready', result, vmGone: true });
  await using agent = host.startAgent();
  expect(await agent.until({ type: 'idle', state: 'not_ready' })).toMatchObject({
    reason: expect.stringContaining('refused another one (tart run: no)'),
  });
});
