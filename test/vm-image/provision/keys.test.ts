/** Tests who may log in to a VM: the key of the agent, and Remote Login. */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { outcomesOf, PUBLIC_KEY, standInMac } from '../factories/stand-in-mac.ts';
import { authorizedKeys, inShells, KEY_BODY, keyFile, mode, step } from './provisioning.ts';

inShells(({ shell, inDetail }) => {
  inDetail('a key tied to a command is replaced, other keys stay, and modes are put right', async () => {
    using mac = standInMac(shell);
    const other = 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDother someone@else';
    mkdirSync(join(mac.home, '.ssh'), { mode: 0o755 });
    writeFileSync(authorizedKeys(mac), `${other}\ncommand="/usr/local/bin/vm-monitor.sh" ${PUBLIC_KEY}`, {
      mode: 0o644,
    });
    chmodSync(mac.home, 0o777);
    const args = ['--only', 'authorised-key', '--key-file', keyFile(mac)];
    const looked = await mac.guest('provision.sh', ['--check', ...args]);
    expect(looked.stdout).toContain('others may write to');
    expect((await mac.guest('provision.sh', args)).status).toBe(0);
    const lines = readFileSync(authorizedKeys(mac), 'utf8').trim().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toBe(other);
    expect(lines[1]).toMatch(/^no-port-forwarding,.* tartbeat$/);
    expect([mode(mac.home), mode(join(mac.home, '.ssh')), mode(authorizedKeys(mac))]).toEqual(['755', '700', '600']);
  });

  inDetail(
    'the key is tied to vm-ssh-gate and untied again, other keys stay; never to a gate that is not there',
    async () => {
      using mac = standInMac(shell);
      const other = `ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDother tartbeat@else`;
      mkdirSync(join(mac.home, '.ssh'), { mode: 0o700 });
      writeFileSync(authorizedKeys(mac), `${other}\n`, { mode: 0o600 });
      const run = (...args: string[]) => mac.guest('provision.sh', ['--only', 'restrict-key', ...args]);
      const lines = () => readFileSync(authorizedKeys(mac), 'utf8').trim().split('\n');
      const looked = async () => (await step(mac, 'restrict-key', ['--check'])).detail;

      expect(await looked()).toContain('has no key of the agent');
      expect((await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac)])).status).toBe(
        0,
      );
      const early = await run('--restrict-key');
      expect([early.status, early.stdout]).toEqual([1, expect.stringContaining('run the step monitor first')]);
      expect(await looked()).toContain('may run any command');

      expect((await step(mac, 'monitor')).word).toBe('changed');
      const tied = `restrict,command="${mac.root}/usr/local/bin/vm-ssh-gate" ssh-ed25519 ${KEY_BODY} tartbeat`;
      for (const word of ['changed', 'ok']) {
        const outcome = await run('--restrict-key');
        expect([outcome.status, outcomesOf(outcome)['restrict-key']], outcome.stdout).toEqual([0, word]);
        expect(lines()).toEqual([other, tied]);
        expect(mode(authorizedKeys(mac))).toBe('600');
      }
      expect(await looked()).toContain('tied to vm-ssh-gate');
      expect((await run()).stdout).toMatch(/^ok +restrict-key +the key is tied/m);
      // Adding the key again changes nothing.
      expect(
        (await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac)])).stdout,
      ).toMatch(/^ok /m);
      rmSync(join(mac.root, 'usr/local/bin/vm-ssh-gate'));
      expect((await step(mac, 'restrict-key', ['--check'])).word).toBe('missing');

      expect((await run('--free-key', '--key-file', keyFile(mac))).status).toBe(0);
      expect(lines()).toEqual([
        other,
        `no-port-forwarding,no-X11-forwarding,no-agent-forwarding ssh-ed25519 ${KEY_BODY} tartbeat`,
      ]);
    },
  );

  inDetail('what is no public key is never written down', async () => {
    using mac = standInMac(shell);
    for (const [text, message] of [
      ['-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n', 'is a private key'],
      ['ssh-ed25519 AAAA$(reboot)\n', 'characters that keys never have'],
      ['command="sh" ssh-ed25519 AAAA\n', 'does not begin like a public key'],
      ['', 'cannot be read'],
    ] as const) {
      const outcome = await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac, text)]);
      expect(outcome.status, text).toBe(1);
      expect(outcome.stdout).toContain(message);
    }
    const without = await mac.guest('provision.sh', ['--only', 'authorised-key']);
    expect(without.stdout).toContain('give --key-file');
    expect(existsSync(authorizedKeys(mac))).toBe(false);
  });

  inDetail('Remote Login is turned on where systemsetup may not, and for an account outside the group', async () => {
    using mac = standInMac(shell);
    mac.remember('no-full-disk-access');
    mac.remember('ssh-group');
    mac.remember('sshd-disabled');
    const applied = await step(mac, 'remote-login');
    expect([applied.word, applied.detail]).toEqual(['changed', 'sshd is loaded']);
    expect(mac.recall('ssh-group-member')).toBe('yes');
    mac.forget('sshd-loaded');
    mac.fail('launchctl');
    const failed = await step(mac, 'remote-login');
    expect(failed.word).toBe('failed');
    expect(failed.detail).toContain('launchctl enable');
  });
});
