/** Takes the controller away while a VM is checked. The agent must not blame the VM. */
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { agentHost } from '../factories/agent-host.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { standInController } from '../servers/stand-in-controller.ts';

async function emptySource(): Promise<Buffer> {
  using dir = temporaryDir();
  const { stdout } = await execa('tar', ['-czf', '-', '-C', dir.path, '.'], { encoding: 'buffer' });
  return Buffer.from(stdout);
}

test('the checks wait for a controller that host and VM cannot reach, and the build goes on', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  // The controller is away from the moment at which the VM asks for it.
  controller.intercept = ({ path }, response) => {
    if (path === '/health') controller.intercept = (_, response) => !!response.destroy();
    return path === '/health' && !!response.destroy();
  };
  await using agent = host.startAgent();
  const build = controller.submit({ id: 'b1', command: 'echo built', source: await emptySource() });
  await agent.until({ type: 'check', id: 'controller', status: 'fail' });
  controller.intercept = () => false;
  await host.attemptEnds(agent);
  expect(build.status).toBe('succeeded');
});

test('a VM that alone cannot reach the controller fails that check', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  controller.intercept = ({ path }, response) => path === '/health' && !!response.writeHead(503).end();
  await using agent = host.startAgent();
  const build = controller.submit({ id: 'b1', command: 'echo built', source: await emptySource() });
  await host.attemptEnds(agent);
  expect(build.reports.at(-1)).toMatchObject({ type: 'fail', verdict: 'health_check_failed', step: 'controller' });
});
