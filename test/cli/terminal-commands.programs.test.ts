/** Runs commands as programs: with a pipe, at a terminal, and until Ctrl-C. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { until } from '../worker-agent/factories/until.ts';
import { expoBuild, jsonLinesOf } from './factories/expo-build.ts';
import { account, farmOfShop } from './factories/farm-of-shop.ts';
import { expoBuildProcess, start, startOnTerminal } from './factories/started.ts';

let farm: Awaited<ReturnType<typeof farmOfShop>>;
beforeAll(async () => {
  farm = await farmOfShop();
});
afterAll(async () => {
  await farm?.[Symbol.asyncDispose]();
});

test('login checks the key, says what it may do, and keeps it where this account alone can read it', async () => {
  using it = account();
  const rights = { projects: ['shop'], pools: ['default'], trusted: true, may: ['secrets.set', 'numbers'] };
  const { secret } = await farm.call<{ secret: string }>('POST', '/api/keys', {
    name: 'CI \u001b[31mof shop',
    scope: 'submit',
    ...rights,
  });
  // Runs the program itself, which gets the key by a pipe.
  const { code, stdout, stderr } = await expoBuildProcess(
    ['login', '--url', `${farm.controller.url}/`, '--key-stdin'],
    {
      ...{ cwd: it.folder, env: { XDG_CONFIG_HOME: it.folder }, input: `${secret}\n` },
    },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toBe(`controller  ${farm.controller.url}
key         CI of shop (scope submit)
may         request, cancel and retry builds, and read their logs and artifacts; set stored secrets; set build numbers
projects    shop
pools       default
expires     never

Kept in ${it.path}, which only your account can read.
`);
  expect(statSync(it.path).mode & 0o777).toBe(0o600);
  expect(statSync(join(it.folder, 'expo-build')).mode & 0o777).toBe(0o700);
  expect(JSON.parse(readFileSync(it.path, 'utf8'))).toEqual({ url: farm.controller.url, key: secret });

  const again = await it.run(['login', '--url', farm.controller.url, '--key-stdin', '--json'], { input: secret });
  expect(jsonLinesOf(again)).toMatchObject([{ type: 'login', url: farm.controller.url, projects: [{ name: 'shop' }] }]);
  expect(JSON.stringify(again)).not.toContain(secret);
  expect(jsonLinesOf(await it.run(['login', '--forget', '--json']))).toEqual([{ type: 'forgotten', wasStored: true }]);
  expect(existsSync(it.path)).toBe(false);
});

test('on a terminal the key and the value of a secret are asked for and not shown', async () => {
  using it = account();
  const { secret } = await farm.keyOfShop(['secrets.set']);
  const env = { XDG_CONFIG_HOME: it.folder };
  {
    using terminal = startOnTerminal(['login'], { env });
    await terminal.shows('Address of the controller');
    terminal.type(`${farm.controller.url}\r`);
    await terminal.shows('masked');
    terminal.type(`${secret}\r`);
    await terminal.shows('Kept in');
    expect([await terminal.ended, terminal.stdout().includes(secret)]).toEqual([0, false]);
  }
  {
    using terminal = startOnTerminal(['secrets', 'set', 'TOKEN', '--project', 'shop'], { env });
    await terminal.shows('Value of TOKEN');
    terminal.type('not-to-be-shown\r');
    await terminal.shows('pool default');
    expect([await terminal.ended, terminal.stdout().includes('not-to-be-shown')]).toEqual([0, false]);
  }
  {
    using terminal = startOnTerminal(['login'], { env });
    await terminal.shows('Address of the controller');
    terminal.type('\u0003');
    expect(await terminal.ended).toBe(130);
  }
});

test('on a terminal `open` shows a QR code and opens the page in the browser', async () => {
  const { secret } = await farm.keyOfShop(['links']);
  using dir = temporaryDir();
  // Each system has its own program to open a page.
  for (const name of ['xdg-open', 'open'])
    writeFileSync(join(dir.path, name), `#!/bin/sh\nprintf '%s' "$*$EXPO_BUILD_KEY" > ${dir.path}/opened\n`, {
      mode: 0o755,
    });
  const env = { ...farm.as(secret).env, PATH: `${dir.path}:${process.env.PATH}` };
  using terminal = startOnTerminal(['open', farm.ids.succeeded], { env, columns: 100, rows: 50 });
  await terminal.shows('ends it');
  const url = /http\S+/.exec(terminal.stdout())![0];
  const opened = () => (existsSync(join(dir.path, 'opened')) ? readFileSync(join(dir.path, 'opened'), 'utf8') : '');
  await until(() => opened() !== '', 'the browser');
  expect(opened()).toBe(url);
  expect(terminal.stdout()).toMatch(/█ █ {3}█ █/);
  expect((await fetch(url)).status).toBe(200);
  const plain = await expoBuild(['open', farm.ids.succeeded], { ...farm.as(secret), env });
  expect(plain.stdout).toMatch(/^http\S+\n$/);
});

test.each([[['list']], [['upload', 'b_1']]])('Ctrl-C ends %j, which waits for an answer', async (args) => {
  const requests: string[] = [];
  const silent = createServer((request) => void requests.push(request.url ?? ''));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(silent.address() as { port: number }).port}`;
  using command = start([...args, '--json'], { env: { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: 'tb_submit_x' } });
  await until(() => requests.length > 0, 'the request');
  command.signal('SIGINT');
  expect(await command.ended).toBe(130);
  expect(command.stderr()).toBe('expo-build: stopped\n');
  silent.closeAllConnections();
  await new Promise((resolve) => silent.close(resolve));
});
