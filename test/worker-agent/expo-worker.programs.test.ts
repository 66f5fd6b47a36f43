import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { temporaryDir } from './factories/temporary-dir.ts';
import { standInController, WORKER_KEY } from './servers/stand-in-controller.ts';

const EXPO_WORKER = new URL('../../worker-agent/expo-worker.ts', import.meta.url).pathname;
const expoWorker = (...args: string[]) => execa(process.execPath, [EXPO_WORKER, ...args], { reject: false });

test('each command explains itself', async () => {
  for (const command of ['init', 'base-image', 'doctor', 'install', 'uninstall', 'run', 'status', 'logs', 'images']) {
    const { exitCode, stdout } = await expoWorker(command, '--help');
    expect({ command, exitCode }).toEqual({ command, exitCode: 0 });
    expect(stdout).toContain('--config');
  }
});

test('wrong usage is 64, a wrong config 2, and neither prints a stack', async () => {
  for (const args of [['rum'], ['run', '--wat'], ['doctor', '--wat']])
    expect(await expoWorker(...args)).toMatchObject({ exitCode: 64 });
  for (const command of ['run', 'status']) {
    const { exitCode, stderr } = await expoWorker(command, '--config', '/nowhere/config.json');
    expect(exitCode).toBe(2);
    expect(stderr).toBe('expo-worker: /nowhere/config.json:\n  file: it does not exist. Run `expo-worker init`');
  }
});

test('a key that the controller refuses is one sentence with the way out', async () => {
  await using controller = await standInController();
  using dir = temporaryDir();
  const path = join(dir.path, 'config.json');
  const config = { vmName: 'v', vmUser: 'u', vmSshKey: '/k', controllerUrl: controller.url, apiKey: 'tb_worker_wrong' };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  const { exitCode, stderr } = await expoWorker('run', '--config', path);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^expo-worker: .* refused `apiKey`: .*\n?$/);
});

test('status fails while no agent runs, and says what the controller says', async () => {
  await using controller = await standInController();
  using dir = temporaryDir();
  const path = join(dir.path, 'config.json');
  const config = { vmName: 'v', vmUser: 'u', vmSshKey: '/k', controllerUrl: controller.url, apiKey: WORKER_KEY };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  const { exitCode, stdout } = await expoWorker('status', '--config', path, '--json');
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toEqual({
    running: false,
    agent: null,
    kept: [],
    controller: { reachable: true, message: 'worker worker-1', activeAttempts: [] },
    images: [expect.objectContaining({ name: 'default', current: expect.objectContaining({ vm: 'v-base-snapshot' }) })],
  });
  expect((await expoWorker('status', '--config', path)).stdout).toContain(
    'not running; start it with `expo-worker run`',
  );
});
