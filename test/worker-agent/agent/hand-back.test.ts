/** Tests what an operator sees of a build that was handed back, and that the agent then pauses. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describe } from '../../../worker-agent/agent/event-printer.ts';
import { StatusFile } from '../../../worker-agent/agent/status-file.ts';
import type { AgentEvent } from '../../../worker-agent/events.ts';
import { StateFolder } from '../../../worker-agent/state/state-folder.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const REFUSED: AgentEvent = {
  ...{ type: 'result', buildId: 'b1', attempt: 1, outcome: 'failed', verdict: 'vm_start_failed', step: 'run' },
  ...{ message: 'tart run: no', handBack: 'vm_limit' },
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
