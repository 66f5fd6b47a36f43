/**
 * Tests what `npm install -g` puts on a Mac: the packed agent, alone in an empty folder, runs a build. Needs
 * the registry.
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { AgentProcess } from '../../local/farm/agent-process.ts';
import { startFarm } from '../../local/farm/farm.ts';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { SAMPLE_DIR, sampleRequest } from '../../local/farm/sample.ts';
import { sourceArchive } from '../worker-agent/factories/source-archive.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';

const INSTALL_MS = 600_000;

/** Installs it as a person does on a Mac, but into a folder. `npm install -g` would put `bin` on the path. */
async function installed(dir: string): Promise<{ bin: string; root: string }> {
  await execa('npm', ['pack', '--silent', '--pack-destination', dir], { cwd: PROJECT_ROOT, timeout: INSTALL_MS });
  const empty = join(dir, 'empty');
  const prefix = join(dir, 'prefix');
  for (const folder of [empty, prefix]) mkdirSync(folder);
  const { version } = JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8'));
  const args = ['install', '-g', '--prefix', prefix, `../tartbeat-${version}.tgz`, '--no-audit', '--no-fund'];
  await execa('npm', args, { cwd: empty, timeout: INSTALL_MS });
  return { bin: join(prefix, 'bin'), root: join(prefix, 'lib/node_modules/tartbeat') };
}

/** The oldest line that the package supports, from npm, and the one that the tests run on. */
async function nodes(dir: string): Promise<string[]> {
  const args = ['install', '--prefix', join(dir, 'node22'), 'node@22', '--no-audit', '--no-fund'];
  await execa('npm', args, { timeout: INSTALL_MS });
  return [join(dir, 'node22/node_modules/node/bin/node'), process.execPath];
}

/** A plan is made in a thread, which must find its own file in the package. */
async function planned(nodePath: string, root: string, dir: string): Promise<unknown> {
  const sourcePath = join(dir, 'source.archive');
  writeFileSync(sourcePath, await sourceArchive({ 'package.json': '{}' }));
  const task = { sourcePath, platform: 'ios', profile: 'it', appRoot: '.', inputs: { env: {} }, originVariables: {} };
  const module = pathToFileURL(join(root, 'dist/worker-agent/expo/plan-in-time.js')).href;
  const program = `import { planInTime } from ${JSON.stringify(module)};
const task = { ...${JSON.stringify(task)}, imageNames: [], now: new Date() };
console.log(JSON.stringify(await planInTime(task, new AbortController().signal)));`;
  const { stdout } = await execa(nodePath, ['--input-type=module', '-e', program]);
  return JSON.parse(stdout);
}

/** Requires the provider from a project, as Expo's command does. */
async function functionsOfProvider(nodePath: string, root: string): Promise<unknown> {
  const program = `const { default: provider } = require('node:module').createRequire(process.argv[1])('tartbeat/build-cache-provider');
console.log(JSON.stringify(Object.keys(provider).sort()));`;
  const { stdout } = await execa(nodePath, ['-e', program, join(root, '../../index.js')]);
  return JSON.parse(stdout);
}

test('the package, installed in an empty folder, has the agent and the image, no tool of the controller, and builds on Node 22 and 24', {
  timeout: 3 * INSTALL_MS,
}, async () => {
  using dir = temporaryDir();
  const { bin, root } = await installed(dir.path);
  const has = (path: string) => existsSync(join(root, 'node_modules', path));
  const nodePaths = await nodes(dir.path);
  for (const nodePath of nodePaths) {
    const env = { PATH: `${dirname(nodePath)}:/usr/bin:/bin` };
    const { stdout: version } = await execa(join(bin, 'expo-worker'), ['--version'], { env, extendEnv: false });
    expect(version).toBe(JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8')).version);
  }
  for (const nodePath of nodePaths)
    expect(await planned(nodePath, root, dir.path)).toMatchObject({
      problem: expect.stringMatching(/^eas\.json is not/),
    });
  for (const nodePath of nodePaths)
    expect(await functionsOfProvider(nodePath, root)).toEqual([
      ...['calculateFingerprintHash', 'resolveBuildCache', 'uploadBuildCache'],
    ]);
  expect(['wrangler', 'workerd', 'miniflare', 'hono', 'drizzle-orm', 'typescript', 'vitest'].filter(has)).toEqual([]);
  for (const script of ['vm-monitor.sh', 'provision.sh', 'create-base-image.sh', 'send_heartbeat']) {
    const path = join(root, 'vm-image', script);
    expect({ script, runs: (statSync(path).mode & 0o111) !== 0 }).toEqual({ script, runs: true });
  }

  await using farm = await startFarm({ startAgents: false });
  const script = join(root, 'dist/worker-agent/expo-worker.js');
  const { configPath } = farm.mac(0);
  for (const nodePath of nodePaths) {
    await using agent = new AgentProcess({ nodePath, script, configPath, env: {}, onEvent: () => {} });
    await agent.started();
    const { id } = await farm.submit(sampleRequest(), SAMPLE_DIR);
    const build = await farm.waitFor(id, ({ endedAt }) => endedAt !== null, { withinMs: 240_000 });
    expect(build, nodePath).toMatchObject({ status: 'succeeded', artifacts: [{ attempt: 1 }] });
  }
});
