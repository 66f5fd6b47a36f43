import { userInfo } from 'node:os';
import { expect, test } from 'vitest';
import { parseAuthorizedKeys } from '../../../worker-agent/tart-simulator/guest/authorized-keys.ts';
import { SshServer } from '../../../worker-agent/tart-simulator/guest/ssh-server.ts';
import { generateKeyPair } from '../../../worker-agent/tart-simulator/key-pair.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { connectSsh } from './simulated-mac.ts';

test('comments, empty lines and nonsense are passed over, options are read', () => {
  const key = generateKeyPair().public;
  const text = `# ${key}\n\nnonsense\nssh-ed25519 AAAA\n${key} someone@somewhere\nrestrict,command="gate \\"x\\"" ${key}\n`;
  expect(parseAuthorizedKeys(text).map(({ command }) => command)).toEqual([undefined, 'gate "x"']);
});

test('an option that sshd would not understand, or a quotation that does not end, makes the line worthless', () => {
  const key = generateKeyPair().public;
  const commandOf = (options: string) => parseAuthorizedKeys(`${options} ${key}`).map(({ command }) => command);
  for (const options of [
    'nonsense',
    'command="x',
    'command=x',
    'restrict,',
    ',restrict',
    'restrict,nonsense',
    '#restrict',
  ])
    expect(commandOf(options), options).toEqual([]);
  for (const options of ['restrict', 'no-pty,no-port-forwarding', 'No-X11-Forwarding'])
    expect(commandOf(options), options).toEqual([undefined]);
  expect(commandOf(`restrict,Command="a ${key} b",pty`)).toEqual([`a ${key} b`]);
});

test('a key with a command gets that command, whatever is asked for', async () => {
  using directory = temporaryDir();
  const client = generateKeyPair();
  const server = new SshServer({
    hostKey: generateKeyPair().private,
    user: userInfo().username,
    home: directory.path,
    authorizedKeys: () => `restrict,command="echo gate: \\"$SSH_ORIGINAL_COMMAND\\"" ${client.public}\n`,
    environment: () => ({ PATH: '/usr/bin:/bin' }),
  });
  await server.listen(0, '127.0.0.1');
  const config = { host: '127.0.0.1', port: server.port, username: userInfo().username, privateKey: client.private };
  using ssh = await connectSsh(config);
  expect((await ssh.exec('rm -rf /')).stdout).toBe('gate: rm -rf /\n');
  server.close();
});
