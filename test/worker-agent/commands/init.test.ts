import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { InitError, initCommand, initWorker } from '../../../worker-agent/commands/init.ts';
import { loadConfig } from '../../../worker-agent/config.ts';
import { ConfigError } from '../../../worker-agent/config-findings.ts';
import { checkPrivateKey } from '../../../worker-agent/guest/ssh.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

function newWorker() {
  const dir = temporaryDir();
  return {
    configPath: join(dir.path, 'worker', 'config.json'),
    keyPath: join(dir.path, 'keys', 'vm_key'),
    answers: {
      vmName: 'expo-build-vm',
      vmUser: 'builder',
      vmSshKey: join(dir.path, 'keys', 'vm_key'),
      controllerUrl: 'https://builds.example.com',
      apiKey: 'tb_worker_abcdefgh',
    },
    [Symbol.dispose]: dir[Symbol.dispose],
  };
}

test('init makes a key that only this user can read, a config that loads, and says what comes next', async () => {
  using worker = newWorker();
  const message = await initWorker(worker);
  expect(message).toContain('expo-worker base-image');
  expect(message).toContain(`ssh-copy-id -i ${worker.keyPath}.pub builder@`);
  expect(message).toContain('tart clone expo-build-vm expo-build-vm-base-snapshot');
  expect(message).not.toContain(worker.answers.apiKey);
  const { vmName, ...answers } = worker.answers;
  expect(await loadConfig(worker.configPath)).toMatchObject({ ...answers, images: [{ name: 'default', vmName }] });
  expect(statSync(worker.keyPath).mode & 0o777).toBe(0o600);
  expect(checkPrivateKey(readFileSync(worker.keyPath))).toBeNull();
  expect(readFileSync(`${worker.keyPath}.pub`, 'utf8')).toMatch(/^ssh-ed25519 /);
});

test('an existing key is kept', async () => {
  using worker = newWorker();
  await initWorker(worker);
  const key = readFileSync(worker.keyPath, 'utf8');
  await initWorker({ ...worker, force: true });
  expect(readFileSync(worker.keyPath, 'utf8')).toBe(key);
});

test('an existing config is not overwritten without --force, and keeps its other settings with it', async () => {
  using worker = newWorker();
  await initWorker(worker);
  await expect(initWorker(worker)).rejects.toThrow('--force');
  const settings = JSON.parse(readFileSync(worker.configPath, 'utf8'));
  writeFileSync(worker.configPath, JSON.stringify({ ...settings, vmSshPort: 2222 }));
  await initWorker({ ...worker, answers: { ...worker.answers, vmName: 'other' }, force: true });
  expect(await loadConfig(worker.configPath)).toMatchObject({ images: [{ vmName: 'other' }], vmSshPort: 2222 });
});

test('a config with images keeps them, and is asked for no VM', async () => {
  using worker = newWorker();
  const { vmName: _, ...answers } = worker.answers;
  await initWorker(worker);
  const { vmName, ...settings } = JSON.parse(readFileSync(worker.configPath, 'utf8'));
  const images = ['xcode-26', 'xcode-27'].map((name) => ({ name, vmName: `${name}-vm`, platforms: ['ios'] }));
  const more = { registries: ['ghcr.io/acme/'], keepVmMaxMs: 60_000 };
  writeFileSync(worker.configPath, JSON.stringify({ ...settings, images, ...more }));
  await expect(initWorker({ ...worker, force: true })).rejects.toThrow('--vm-name');
  const message = await initWorker({ ...worker, answers: { ...answers, vmUser: 'other' }, force: true });
  expect(message).toContain(
    'base-image --image xcode-26 --from SOURCE\n       expo-worker base-image --image xcode-27 --from SOURCE\n',
  );
  expect(await loadConfig(worker.configPath)).toMatchObject({ images, ...more, vmUser: 'other' });
  expect(vmName).toBe('expo-build-vm');
});

test.for(['~/.ssh/id_ed25519', '~/.ssh/id_rsa', '~/.ssh/id_work'])(
  'the personal key %s is refused',
  async (vmSshKey) => {
    using worker = newWorker();
    const answers = { ...worker.answers, vmSshKey };
    await expect(initWorker({ ...worker, answers })).rejects.toThrow('personal key');
    expect(existsSync(worker.configPath)).toBe(false);
  },
);

test('a key that others can read, and one that is a public key, are refused', async () => {
  using worker = newWorker();
  await initWorker(worker);
  chmodSync(worker.keyPath, 0o644);
  await expect(initWorker({ ...worker, force: true })).rejects.toThrow(`chmod 600 ${worker.keyPath}`);
  chmodSync(`${worker.keyPath}.pub`, 0o600);
  const answers = { ...worker.answers, vmSshKey: `${worker.keyPath}.pub` };
  await expect(initWorker({ ...worker, answers, force: true })).rejects.toThrow(InitError);
});

test('wrong answers are named, and nothing is written', async () => {
  using worker = newWorker();
  const answers = { ...worker.answers, controllerUrl: 'builds.example.com', vmName: '../x' };
  const error = await initWorker({ ...worker, answers }).catch((error) => error);
  expect(error).toBeInstanceOf(ConfigError);
  expect(error.findings.map(({ key }: { key: string }) => key).sort()).toEqual(['controllerUrl', 'vmName']);
  expect(existsSync(worker.configPath)).toBe(false);
  expect(existsSync(worker.keyPath)).toBe(false);
});

test('the command takes every answer from flags, and the key from standard input', async () => {
  using worker = newWorker();
  const program = new URL('../../../worker-agent/commands/init.ts', import.meta.url).href;
  const script = `import { initCommand } from '${program}'; 
    await initCommand((code) => (process.exitCode = code)).parseAsync(process.argv, { from: 'node' });`;
  const flags = [
    '--config',
    worker.configPath,
    '--vm-name',
    'vm',
    '--vm-user',
    'admin',
    '--vm-ssh-key',
    worker.keyPath,
  ];
  const run = (more: string[], input: string) =>
    execa(process.execPath, ['--input-type=module', '-e', script, 'init', ...flags, ...more], {
      input,
      reject: false,
      timeout: 30_000,
    });
  const missing = await run([], '');
  expect(missing).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('--controller-url, one of --code, --api-key'),
  });
  const done = await run(['--controller-url', 'http://localhost:3000', '--api-key', '-'], 'tb_worker_from_stdin\n');
  expect(done).toMatchObject({ exitCode: 0, stderr: '' });
  expect((await loadConfig(worker.configPath)).apiKey).toBe('tb_worker_from_stdin');
  expect(initCommand(() => {}).helpInformation()).toContain('--force');
});
