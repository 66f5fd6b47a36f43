/** Tests how a session in a VM takes slow answers, with an OpenSSH server as the VM. */
import { join } from 'node:path';
import { expect } from 'vitest';
import type { GuestCommand } from '../../../worker-agent/guest/commands.ts';
import { Guest, type GuestOptions } from '../../../worker-agent/guest/session.ts';
import { connectSsh } from '../../../worker-agent/guest/ssh.ts';
import { testWith } from '../../set-up/test-with.ts';
import { startOpenSsh } from '../servers/openssh-server.ts';

const onServer = testWith('sshd');

/** A command that is not in the agent's closed list, which these tests may run. */
const command = (text: string) => ({ name: 'test', text: () => text, input: null }) as unknown as GuestCommand;

async function sessionIn(options: Partial<GuestOptions> = {}) {
  const server = await startOpenSsh();
  let ssh = await connectSsh(server.target);
  let connections = 1;
  const vm = {
    get ssh() {
      return ssh;
    },
    async reconnect() {
      ssh.close();
      connections++;
      ssh = await connectSsh(server.target);
      return ssh;
    },
  };
  const guest = new Guest({
    vm,
    deadLimitMs: 60_000,
    slowLimitMs: 60_000,
    vmBeats: () => true,
    onReconnected: () => {},
    signal: new AbortController().signal,
    ...options,
  });
  return {
    guest,
    file: (name: string) => join(server.home, name),
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      ssh.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

onServer('a command without an answer in its time runs again while SSH answers', async () => {
  await using session = await sessionIn();
  const slowOnce = `if [ -e ${session.file('asked')} ]; then echo here; else touch ${session.file('asked')}; sleep 60; fi`;
  const answer = await session.guest.exec(command(slowOnce), { timeoutMs: 2_000 });
  expect(answer.stdout.toString()).toBe('here\n');
  expect(session.connections()).toBe(1);
});

onServer('a command that never answers is given up at the limit, and not before', async () => {
  await using session = await sessionIn({ slowLimitMs: 1_500 });
  const askedAtMs = performance.now();
  await expect(session.guest.exec(command('sleep 60'), { timeoutMs: 500 })).rejects.toMatchObject({ kind: 'timeout' });
  expect(performance.now() - askedAtMs).toBeGreaterThanOrEqual(1_500);
});
