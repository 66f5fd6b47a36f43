import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { afterEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { addressOf, connect, storeSettings } from '../../cli/settings.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';

afterEach(() => void vi.unstubAllEnvs());

/** An account with the variables that are given, and no others of the command. */
function account(variables: Record<string, string> = {}) {
  const dir = temporaryDir();
  const all = { EXPO_BUILD_URL: '', EXPO_BUILD_KEY: '', XDG_CONFIG_HOME: dir.path, HOME: dir.path, ...variables };
  for (const [name, value] of Object.entries(all)) vi.stubEnv(name, value);
  return dir;
}

const ours = { url: 'https://builds.example.com', key: 'tb_submit_ours' };

/** Writes down which key each request brings. */
async function standIn() {
  const keys: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    keys.push(request.headers.authorization);
    response.end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    keys,
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The message of the refusal, which never has a key in it. */
const refusal = async () => {
  const message = await connect().then(
    () => 'no refusal',
    (error: Error) => error.message,
  );
  expect(message).not.toMatch(/tb_submit/);
  return message;
};

/** Sends a request as a command does. */
const send = async () => void (await (await connect()).call({ method: 'GET', path: '/', answer: z.unknown() }));

test('both variables win over what is stored, and one alone brings no key to another address', async () => {
  using _ = account();
  await using builds = await standIn();
  await using other = await standIn();
  expect(await refusal()).toContain('Run `expo-build login`');
  await storeSettings({ url: builds.url, key: ours.key });
  await send();
  vi.stubEnv('EXPO_BUILD_URL', `${builds.url.toUpperCase()}/`);
  await send();
  expect(builds.keys).toEqual(['Bearer tb_submit_ours', 'Bearer tb_submit_ours']);

  vi.stubEnv('EXPO_BUILD_URL', other.url);
  expect(await refusal()).toBe(
    `EXPO_BUILD_URL is ${other.url}, but EXPO_BUILD_KEY is not set or empty, and the stored key is for ${builds.url}. Set EXPO_BUILD_KEY.`,
  );
  vi.stubEnv('EXPO_BUILD_KEY', 'tb_submit_of-ci');
  await send();
  expect([builds.keys.length, other.keys]).toEqual([2, ['Bearer tb_submit_of-ci']]);
  vi.stubEnv('EXPO_BUILD_URL', '');
  expect(await refusal()).toContain('EXPO_BUILD_KEY is set, and EXPO_BUILD_URL is not');
});

test('a file that others can read is refused with the command that mends it', async () => {
  using _ = account();
  const path = await storeSettings(ours);
  for (const mode of [0o640, 0o604, 0o620]) {
    chmodSync(path, mode);
    expect(await refusal()).toBe(`${path} has a key, and others can read it. Run \`chmod 600 ${path}\`.`);
  }
  await storeSettings(ours);
  expect(await connect()).toMatchObject({ url: ours.url });
  writeFileSync(path, '{"url":"http://builds.example.com","key":"tb_submit_ours"}');
  expect(await refusal()).toContain('must begin with https://');
  for (const damaged of ['', '{', '[]', '{"url":1}', '{"key":"tb_submit_ours"}']) {
    writeFileSync(path, damaged);
    expect(await refusal()).toBe(`${path} is damaged. Run \`expo-build login\`, which writes it anew.`);
  }
});

test('neither address nor key comes from a project', async () => {
  using project = temporaryDir();
  using _ = account({ XDG_CONFIG_HOME: 'config', APPDATA: 'config' });
  const before = process.cwd();
  process.chdir(project.path);
  try {
    mkdirSync('config/expo-build', { recursive: true });
    writeFileSync('config/expo-build/settings.json', JSON.stringify(ours), { mode: 0o600 });
    writeFileSync('expo-build.json', JSON.stringify(ours));
    writeFileSync('.env', 'EXPO_BUILD_URL=https://evil.example.com\nEXPO_BUILD_KEY=tb_submit_evil\n');
    expect(await refusal()).toContain('No controller is known here');
  } finally {
    process.chdir(before);
  }
});

test.each([
  ['builds.example.com', 'https://builds.example.com'],
  [' https://BUILDS.example.com/tartbeat/ ', 'https://builds.example.com/tartbeat'],
  ['http://localhost:3000', 'http://localhost:3000'],
  ['localhost:3000', 'http://localhost:3000'],
  ['http://localhost:3000/api/', 'http://localhost:3000'],
  ['http://127.0.0.1:3000/', 'http://127.0.0.1:3000'],
  ['http://[::1]:3000', 'http://[::1]:3000'],
  ['http://builds.example.com', null],
  ['http://127.0.0.1.example.com', null],
  ['http://localhost.example.com', null],
  ['https://name:password@builds.example.com', null],
  ['https://builds.example.com/?key=1', null],
  ['https://builds.example.com/#x', null],
  ['ftp://builds.example.com', null],
  ['file:///etc/passwd', null],
  ['', null],
])('the address %j becomes %j', (text, address) => {
  if (address === null) expect(() => addressOf(text, 'here')).toThrow('here: ');
  else expect(addressOf(text, 'here')).toBe(address);
});
