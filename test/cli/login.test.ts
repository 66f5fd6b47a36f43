/** Tests with which controller and key the commands work, against a real controller. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LocalController, startController } from '../../local/farm/controller.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { expoBuild, jsonLinesOf } from './expo-build-process.ts';

const state = temporaryDir();
let controller: LocalController;
beforeAll(async () => {
  controller = await startController({ stateDir: state.path });
});
afterAll(async () => {
  await controller?.stop();
  state[Symbol.dispose]();
});

const api = async (method: string, path: string, body: unknown) => {
  const headers = { authorization: `Bearer ${controller.secrets.ADMIN_KEY}`, 'content-type': 'application/json' };
  const response = await fetch(`${controller.url}${path}`, { method, headers, body: JSON.stringify(body) });
  return (await response.json()) as { secret: string; key: { id: string } };
};

/** An account of this machine, with nothing stored. */
function account() {
  const dir = temporaryDir();
  const path = join(dir.path, 'expo-build', 'settings.json');
  const run = (args: string[], { env, input }: { env?: NodeJS.ProcessEnv; input?: string } = {}) =>
    expoBuild(args, {
      cwd: dir.path,
      env: { XDG_CONFIG_HOME: dir.path, ...env },
      ...(input !== undefined && { input }),
    });
  return { path, run, folder: dir.path, [Symbol.dispose]: dir[Symbol.dispose] };
}

test('login checks the key, says what it may do, and keeps it where this account alone can read it', async () => {
  using it = account();
  await api('POST', '/api/projects', { name: 'shop' });
  const rights = { projects: ['shop'], pools: ['default'], trusted: true, may: ['secrets.set', 'numbers'] };
  const { secret } = await api('POST', '/api/keys', { name: 'CI \u001b[31mof shop', scope: 'submit', ...rights });
  const { code, stdout, stderr } = await it.run(['login', '--url', `${controller.url}/`, '--key-stdin'], {
    input: `${secret}\n`,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toBe(`controller  ${controller.url}
key         CI of shop (scope submit)
may         request, cancel and retry builds, and read their logs and artifacts; set stored secrets; set build numbers
projects    shop
pools       default
expires     never

Kept in ${it.path}, which only your account can read.
`);
  expect(statSync(it.path).mode & 0o777).toBe(0o600);
  expect(statSync(join(it.folder, 'expo-build')).mode & 0o777).toBe(0o700);
  expect(JSON.parse(readFileSync(it.path, 'utf8'))).toEqual({ url: controller.url, key: secret });

  const again = await it.run(['login', '--url', controller.url, '--key-stdin', '--json'], { input: secret });
  expect(jsonLinesOf(again)).toMatchObject([{ type: 'login', url: controller.url, projects: [{ name: 'shop' }] }]);
  expect(JSON.stringify(again)).not.toContain(secret);
  expect(jsonLinesOf(await it.run(['login', '--forget', '--json']))).toEqual([{ type: 'forgotten', wasStored: true }]);
  expect(existsSync(it.path)).toBe(false);
});

test('a key that is wrong or of a Mac is not kept, and a controller that is not there ends with 5', async () => {
  using it = account();
  const { key } = (await api('POST', '/api/workers', { name: 'mac' })) as unknown as { key: string };
  const login = (url: string, input: string) => it.run(['login', '--url', url, '--key-stdin', '--json'], { input });
  const ended = [
    await login(controller.url, 'tb_submit_wrong'),
    await login(controller.url, key),
    await login(controller.url, 'two words'),
    await login('http://builds.example.com', 'tb_submit_x'),
    await login('http://127.0.0.1:9', 'tb_submit_x'),
  ];
  expect(ended.flatMap(jsonLinesOf)).toEqual([
    { type: 'error', exitCode: 2, message: expect.stringContaining('does not know this key') },
    { type: 'error', exitCode: 2, message: expect.stringContaining('the key of a Mac') },
    { type: 'error', exitCode: 2, message: expect.stringContaining('this is no key') },
    { type: 'error', exitCode: 2, message: expect.stringContaining('must begin with https://') },
    { type: 'error', exitCode: 5, message: expect.stringContaining('The controller was not reached') },
  ]);
  expect(ended.map(({ code }) => code)).toEqual([2, 2, 2, 2, 5]);
  expect(existsSync(it.path)).toBe(false);
  expect(JSON.stringify(ended)).not.toContain('two words');
});
