/** What `npm install -g` puts on a Mac: the packed agent, alone in an empty folder, runs a build. Needs the registry. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { AgentProcess } from '../../local/agent-process.ts';
import { PROJECT_ROOT } from '../../local/controller.ts';
import { startFarm } from '../../local/farm.ts';
import { SAMPLE_DIR, sampleRequest } from '../../local/sample.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';

const INSTALL_MS = 600_000;

async function installed(dir: string): Promise<string> {
  await execa('npm', ['pack', '--silent', '--pack-destination', dir], { cwd: PROJECT_ROOT, timeout: INSTALL_MS });
  const home = join(dir, 'home');
  await execa('mkdir', [home]);
  writeFileSync(join(home, 'package.json'), '{"private":true}');
  const { version } = JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8'));
  const args = ['install', `../tartbeat-${version}.tgz`, '--omit=dev', '--no-audit', '--no-fund', '--prefer-offline'];
  await execa('npm', args, { cwd: home, timeout: INSTALL_MS });
  return home;
}

test('the package, installed in an empty folder, has the agent and the image, no tool of the controller, and builds', {
  timeout: 2 * INSTALL_MS,
}, async () => {
  using dir = temporaryDir();
  const home = await installed(dir.path);
  const has = (path: string) => existsSync(join(home, 'node_modules', path));
  const { stdout: version } = await execa(join(home, 'node_modules/.bin/expo-worker'), ['--version'], {
    env: { PATH: `${join(process.execPath, '..')}:${process.env.PATH}` },
  });
  expect(version).toBe(JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8')).version);
  expect(['wrangler', 'workerd', 'miniflare', 'hono', 'drizzle-orm', 'typescript', 'vitest'].filter(has)).toEqual([]);
  for (const script of ['vm-monitor.sh', 'provision.sh', 'create-base-image.sh', 'send_heartbeat']) {
    const path = join(home, 'node_modules/tartbeat/vm-image', script);
    expect({ script, runs: (statSync(path).mode & 0o111) !== 0 }).toEqual({ script, runs: true });
  }

  await using farm = await startFarm({ startAgents: false });
  const script = join(home, 'node_modules/tartbeat/dist/worker-agent/expo-worker.js');
  await using agent = new AgentProcess({ script, configPath: farm.mac(0).configPath, env: {}, onEvent: () => {} });
  await agent.started();
  const { id } = await farm.submit(sampleRequest(), SAMPLE_DIR);
  const build = await farm.waitFor(id, ({ endedAt }) => endedAt !== null, { withinMs: 240_000 });
  expect(build).toMatchObject({ status: 'succeeded', artifacts: [{ attempt: 1 }] });
});
