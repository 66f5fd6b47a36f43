/** Loses the answer to a claim, and stops the agent in the middle of one. */
import { expect, test } from 'vitest';
import { StateFolder } from '../../../worker-agent/state/state-folder.ts';
import { agentHost } from '../factories/agent-host.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { standInController } from '../servers/stand-in-controller.ts';

test('a claim whose answer was lost, and whose attempt has ended, keeps no build away', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const source = await sourceArchive({});
  const state = new StateFolder(host.stateDir);
  await state.instance();
  const lost = controller.submit({ id: 'b0', command: 'true', source });
  Object.assign(lost, { claimId: await state.pendingClaimId(), attempt: 1, status: 'failed' });
  const next = controller.submit({ id: 'b1', command: 'true', source });
  await using agent = host.startAgent();
  await agent.until({ type: 'reported', buildId: 'b1' });
  expect(next.status).toBe('succeeded');
});

test('an agent that is told to leave while it claims takes the build that it gets', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const build = controller.submit({ id: 'b1', command: 'true', source: await sourceArchive({}) });
  await using agent = host.startAgent();
  controller.intercept = ({ path }, response) => {
    if (!path.endsWith('/claim')) return false;
    controller.intercept = () => false;
    const end = response.end.bind(response);
    response.end = (text: unknown) => {
      agent.signal('SIGTERM');
      setTimeout(() => end(text), 1_000); // the signal is certain to come first
      return response;
    };
    return false;
  };
  expect(await agent.exited).toBe(0);
  expect(build.status).toBe('succeeded');
});
