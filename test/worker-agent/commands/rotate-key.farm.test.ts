import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { initWorker } from '../../../worker-agent/commands/init.ts';
import { rotateKeyCommand } from '../../../worker-agent/commands/rotate-key.ts';
import { agentHost } from '../factories/agent-host.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';
import { standInController, WORKER_KEY } from '../servers/stand-in-controller.ts';

const NEW_KEY = 'tb_worker_the-new-one-0123456789';
const CODE = 'tb_enrol_abcdefgh';
const VIEW = { id: 'key_2', name: 'mac', scope: 'worker', workerId: 'mac-1', createdAt: '2026-01-01T00:00:00Z' };

/**
 * Answers the agent's questions about keys: a code that works once, a key that may be rotated. `lose` drops
 * so many answers with a new key.
 */
async function keyServer({ lose = 0 } = {}) {
  let codeUsed = false;
  const known = new Set([WORKER_KEY]);
  const used: string[] = [];
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    const refuse = (status: number, code: string) => answer(status, { error: { code, message: `${code} here` } });
    if (request.url === '/api/workers/enrol') {
      const { code } = (await json(request)) as { code: string };
      if (code !== CODE || codeUsed) return refuse(401, 'unauthorized');
      codeUsed = true;
      return answer(201, { workerId: 'mac-1', name: 'mac', key: WORKER_KEY });
    }
    const key = request.headers.authorization?.replace('Bearer ', '') ?? '';
    used.push(key);
    if (!known.has(key)) return refuse(401, 'unauthorized');
    if (request.url === '/api/me')
      return answer(200, { scope: 'worker', name: 'mac', workerId: 'mac-1', keyId: 'key_1' });
    if (request.url === '/api/keys/key_1/rotate') {
      if (lose-- > 0) return request.socket.destroy();
      known.add(NEW_KEY);
      return answer(201, { secret: NEW_KEY, key: { ...VIEW, lastUsedAt: null, expiresAt: null, revokedAt: null } });
    }
    return refuse(404, 'not_found');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    /** The keys of all requests, in order. */
    used,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const answersFor = (dir: string, controllerUrl: string) => ({
  vmName: 'vm',
  vmUser: 'admin',
  vmSshKey: join(dir, 'vm_key'),
  controllerUrl,
});

test('init trades a code for the key, which nobody has seen; a second time it is refused and nothing is written', async () => {
  using dir = temporaryDir();
  await using server = await keyServer();
  const configPath = join(dir.path, 'config.json');
  const answers = { ...answersFor(dir.path, server.url), code: CODE };
  const message = await initWorker({ configPath, answers });
  expect(message).not.toContain(WORKER_KEY);
  const written = JSON.parse(readFileSync(configPath, 'utf8'));
  expect(written).toMatchObject({ apiKey: WORKER_KEY });
  expect(written).not.toHaveProperty('code');

  const other = join(dir.path, 'other.json');
  await expect(initWorker({ configPath: other, answers })).rejects.toThrow('did not take the code');
  expect(() => statSync(other)).toThrow();
});

test('a code is not spent on a config that would be refused', async () => {
  using dir = temporaryDir();
  await using server = await keyServer();
  const configPath = join(dir.path, 'config.json');
  const answers = { ...answersFor(dir.path, server.url), code: CODE };
  await expect(initWorker({ configPath, answers: { ...answers, vmName: 'no spaces' } })).rejects.toThrow('vmName');
  await initWorker({ configPath, answers });
});

test('rotate-key writes the new key in place, keeps every other setting and the mode of the file', async () => {
  using dir = temporaryDir();
  await using server = await keyServer();
  const configPath = join(dir.path, 'config.json');
  const config = { ...answersFor('~', server.url), apiKey: WORKER_KEY, minFreeDiskGb: 30 };
  writeFileSync(configPath, JSON.stringify(config), { mode: 0o600 });
  await rotateKeyCommand({ config: configPath });
  expect(JSON.parse(readFileSync(configPath, 'utf8'))).toEqual({ ...config, apiKey: NEW_KEY });
  expect(statSync(configPath).mode & 0o777).toBe(0o600);
  // The new key is used at once, and not before it is written.
  expect(server.used).toEqual([WORKER_KEY, WORKER_KEY, NEW_KEY]);
});

test('an answer that is lost on its way leaves the config with a key that works, and rotate-key may be run again', async () => {
  using dir = temporaryDir();
  await using server = await keyServer({ lose: 1 });
  const configPath = join(dir.path, 'config.json');
  const text = JSON.stringify({ ...answersFor('~', server.url), apiKey: WORKER_KEY });
  writeFileSync(configPath, text, { mode: 0o600 });
  await expect(rotateKeyCommand({ config: configPath })).rejects.toThrow(server.url);
  expect(readFileSync(configPath, 'utf8')).toBe(text);
  await rotateKeyCommand({ config: configPath });
  expect(JSON.parse(readFileSync(configPath, 'utf8'))).toMatchObject({ apiKey: NEW_KEY });
});

test('rotate-key says what is wrong and leaves the config as it was', async () => {
  using dir = temporaryDir();
  await using server = await keyServer();
  const configPath = join(dir.path, 'config.json');
  const text = JSON.stringify({ ...answersFor('~', server.url), apiKey: 'tb_worker_revoked' });
  writeFileSync(configPath, text, { mode: 0o600 });
  await expect(rotateKeyCommand({ config: configPath })).rejects.toThrow('unauthorized here');
  expect(readFileSync(configPath, 'utf8')).toBe(text);
  chmodSync(configPath, 0o644);
  await expect(rotateKeyCommand({ config: configPath })).rejects.toThrow('chmod 600');
});

test('a running agent takes the renewed key from its config, and its build does not notice', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  const build = controller.submit({
    id: 'b1',
    command: 'until [ -e "$TARTBEAT_ROOT/tmp/go" ]; do sleep 0.2; done; echo done',
    source: await sourceArchive({ 'a.txt': 'a' }),
  });
  await agent.until({ type: 'stage', stage: 'building' });
  const config = JSON.parse(readFileSync(host.configPath, 'utf8'));
  writeFileSync(host.configPath, JSON.stringify({ ...config, apiKey: NEW_KEY }));
  await until(() => controller.requests.some(({ key }) => key === NEW_KEY), 'the new key is used', 30_000);
  const [vm] = host.vms();
  writeFileSync(join(host.tartHome, 'vms', vm!, 'guest', 'tmp', 'go'), '');
  await until(() => build.status === 'succeeded', 'the build succeeds', 60_000);
  const after = controller.requests.slice(controller.requests.findIndex(({ key }) => key === NEW_KEY));
  expect(new Set(after.filter(({ path }) => path.startsWith('/api/workers')).map(({ key }) => key))).toEqual(
    new Set([NEW_KEY]),
  );
});
