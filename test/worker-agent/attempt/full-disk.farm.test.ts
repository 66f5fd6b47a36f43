/** Stops all writes to the journal of an attempt, as a full disk does, while its build ends. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { agentHost } from '../factories/agent-host.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { until } from '../factories/until.ts';
import { standInController } from '../servers/stand-in-controller.ts';

test('an attempt whose end cannot be written keeps neither VM nor slot, and is told once it can be', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const gate = host.gate();
  const build = controller.submit({ id: 'b1', command: `echo up; ${gate.wait}`, source: await sourceArchive({}) });
  await using agent = host.startAgent();
  await until(() => build.log.includes('up'), 'the command runs', 120_000);
  const journal = join(host.stateDir, 'b1-1', 'journal.json');
  renameSync(journal, `${journal}.before`);
  mkdirSync(join(journal, 'in the way'), { recursive: true });
  gate.open();
  await agent.until({ type: 'slot_free' });
  expect(host.vms()).toEqual([]);
  expect(build.reports.map(({ type }) => type)).toEqual(['start']);
  rmSync(journal, { recursive: true });
  await agent.until({ type: 'reported' });
  // The agent looked at the VM before it deleted the VM to make room.
  expect(build.reports.at(-1)).toMatchObject({ type: 'fail', evidence: { vm: 'running', ssh: { answers: true } } });
  await until(() => !existsSync(join(host.stateDir, 'b1-1')), 'nothing of the attempt is left');
});
