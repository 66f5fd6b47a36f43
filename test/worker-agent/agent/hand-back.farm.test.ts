/** Tests what an operator sees of a build that was handed back, and that the agent then pauses. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Report } from '#contract';
import { describe } from '../../../worker-agent/agent/event-printer.ts';
import { StatusFile } from '../../../worker-agent/agent/status-file.ts';
import type { AgentEvent } from '../../../worker-agent/events.ts';
import { StateFolder } from '../../../worker-agent/state/state-folder.ts';
import { vmNameOf } from '../../../worker-agent/vm/name.ts';
import { agentHost } from '../factories/agent-host.ts';
import { anAssignment } from '../factories/assignment.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';
import { SHORT_TIMEOUTS, type StandInBuild, standInController, WORKER_ID } from '../servers/stand-in-controller.ts';

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

test('an agent that restarts before its hand-back is told pauses, too', async () => {
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

test('a build of an image that this Mac does not have, or no longer has, is handed back', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const source = await sourceArchive({ 'a.txt': 'A' });
  const unknown = controller.submit({ id: 'b1', source, assigned: { image: 'xcode-28' } });
  const gone = controller.submit({ id: 'b2', source });
  const imageIdentity = { digest: null, provisioned: 'a'.repeat(64) };
  const switched = controller.submit({ id: 'b3', source, assigned: { image: 'default', imageIdentity } });
  await journalOf(host, gone, 'deleted');
  await using agent = host.startAgent();
  for (const { reports } of [gone, unknown, switched]) {
    await until(() => reports.length > 0, 'it is reported', 120_000);
    expect(reports[0]).toMatchObject({
      type: 'fail',
      verdict: 'vm_start_failed',
      step: 'clone',
      handBack: 'image_gone',
    });
  }
  expect(await agent.until({ type: 'result', buildId: 'b1' })).toMatchObject({
    message: 'this Mac has no image xcode-28 for ios',
  });
  expect(await agent.until({ type: 'result', buildId: 'b3' })).toMatchObject({
    message: 'this Mac has no image default for ios as it was offered',
  });
  expect(host.vms()).toEqual([]);
});

test('after a restart an attempt boots the VM that it was claimed for, whatever is current by then', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  host.addVm('before');
  writeFileSync(join(host.guestRoot('before'), 'made-as'), 'the one before\n');
  const source = await sourceArchive({ 'a.txt': 'A' });
  const build = controller.submit({ id: 'b1', source, command: 'cat "$TARTBEAT_ROOT/made-as"' });
  await journalOf(host, build, 'before');
  await using agent = host.startAgent();
  expect(await agent.until({ type: 'result', buildId: 'b1' })).toMatchObject({ outcome: 'succeeded' });
  expect(build.log.toString()).toBe('the one before\n');
});

/** Writes the journal of an agent that was killed right after it had claimed the build. */
async function journalOf(host: { stateDir: string }, build: StandInBuild, vm: string): Promise<void> {
  Object.assign(build, { attempt: 1, status: 'assigned', claimId: 'claim-1' });
  const assignment = { ...anAssignment(), ...build.assignment };
  const image = { ...{ name: 'default', vm }, digest: null, provisioned: null, hostKey: null };
  const state = new StateFolder(host.stateDir);
  await state.createAttempt(assignment, vmNameOf({ workerId: WORKER_ID, buildId: build.id, attempt: 1 }), image);
}
