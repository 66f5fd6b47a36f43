/** Tests what builds find in a VM: guest scripts, disk, Xcode, Homebrew, screen saver, packet filter. */
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { outcomesOf, standInMac, VM_IMAGE } from '../factories/stand-in-mac.ts';
import { guestScripts, inShells, step, version } from './provisioning.ts';

inShells(({ shell, inDetail }) => {
  inDetail('guest scripts of an earlier version go, before a link could lead to others than it names', async () => {
    using mac = standInMac(shell);
    const links = join(mac.home, '.tartbeat/guest');
    const scripts = join(mac.root, 'usr/local/share/tartbeat/guest');
    mkdirSync(links, { recursive: true });
    mkdirSync(scripts, { recursive: true });
    writeFileSync(join(scripts, 'table'), 'log read count count\n');
    symlinkSync(scripts, join(links, '1-0000000000000000'));
    mac.fail('chown');
    expect((await step(mac, 'monitor')).word).toBe('failed');
    expect(existsSync(links)).toBe(false);
    mac.repair();
    expect((await step(mac, 'monitor')).word).toBe('changed');
    expect(guestScripts(mac)).toEqual([version]);
    // Scripts that an agent has installed in a clone are not reported.
    mkdirSync(join(links, '2-0000000000000000'));
    expect((await step(mac, 'monitor', ['--check'])).word).toBe('ok');
    rmSync(join(links, version));
    expect((await step(mac, 'monitor', ['--check'])).detail).toContain('must have exactly one link');
  });

  inDetail('the host keys of the forges are added to what an image has, and an older mise is upgraded', async () => {
    using mac = standInMac(shell);
    const file = join(mac.home, '.ssh/known_hosts');
    mkdirSync(join(mac.home, '.ssh'), { mode: 0o700 });
    const forges = readFileSync(join(VM_IMAGE, 'guest/known-hosts'), 'utf8')
      .split('\n')
      .filter((line) => /^[a-z]/.test(line));
    writeFileSync(file, `git.example.com ssh-ed25519 AAAA\n${forges[0]}`);
    expect((await step(mac, 'known-hosts', ['--check'])).detail).toContain(`lacks ${forges.length - 1} line(s)`);
    for (const word of ['changed', 'ok']) {
      expect((await step(mac, 'known-hosts')).word).toBe(word);
      const lines = readFileSync(file, 'utf8').trim().split('\n');
      expect(lines).toEqual(['git.example.com ssh-ed25519 AAAA', ...forges]);
    }
    for (const name of ['monitor', 'homebrew', 'build-shell', 'mise']) expect((await step(mac, name)).status).toBe(0);
    mac.remember('mise-version', '2026.8.3');
    expect((await step(mac, 'mise', ['--check'])).detail).toContain('2026.8.3, which is older than 2026.9');
    mac.calls();
    expect((await step(mac, 'mise')).word).toBe('changed');
    expect(mac.calls()).toEqual(['brew upgrade mise']);
  });

  inDetail(
    'the packet filter is off until it is asked for, takes addresses only, and is turned off again',
    async () => {
      using mac = standInMac(shell);
      const rules = join(mac.root, 'etc/tartbeat-packet-filter.conf');
      const job = join(mac.root, 'Library/LaunchDaemons/dev.tartbeat.packet-filter.plist');
      const run = (addresses: string) =>
        mac.guest('provision.sh', ['--only', 'private-networks', '--packet-filter', addresses]);
      expect((await step(mac, 'private-networks')).detail).toContain('the filter is off');
      for (const wrong of ['builds.example.com', '10.0.0.1;reboot', ',', '1.2.3.4,', 'x', 'abc'])
        expect((await run(wrong)).stdout, wrong).toContain('--packet-filter takes addresses');
      expect([existsSync(rules), existsSync(job)]).toEqual([false, false]);
      mac.fail('pfctl');
      expect((await run('192.0.2.7')).status).toBe(1);
      expect(existsSync(rules)).toBe(false);
      mac.repair();
      for (const word of ['changed', 'ok'])
        expect(outcomesOf(await run('192.0.2.7,2001:db8::7'))['private-networks']).toBe(word);
      expect(readFileSync(rules, 'utf8')).toContain('controller = "{ 192.0.2.7, 2001:db8::7 }"');
      expect(readFileSync(job, 'utf8')).toContain(`-f ${rules} &amp;&amp; /sbin/pfctl -E`);
      expect((await step(mac, 'private-networks', ['--check'])).detail).toBe(
        'the filter is on and blocks private networks, except 192.0.2.7, 2001:db8::7',
      );
      expect(outcomesOf(await run('off'))['private-networks']).toBe('changed');
      expect([existsSync(rules), existsSync(job)]).toEqual([false, false]);
    },
  );

  inDetail('without Xcode the command line tools are installed, Xcode is asked for, and can be left out', async () => {
    using mac = standInMac(shell);
    rmSync(join(mac.root, 'Applications'), { recursive: true });
    mac.remember('no-tools-offered');
    expect((await step(mac, 'command-line-tools')).detail).toContain('offers no Command Line Tools');
    mac.forget('no-tools-offered');
    mac.fail('softwareupdate');
    expect((await step(mac, 'command-line-tools')).detail).toContain('softwareupdate --install');
    mac.repair();
    expect((await step(mac, 'command-line-tools')).word).toBe('changed');
    expect(existsSync(join(mac.root, 'tmp/.com.apple.dt.CommandLineTools.installondemand.in-progress'))).toBe(false);

    const xcode = await step(mac, 'xcode');
    expect([xcode.status, xcode.word]).toEqual([1, 'failed']);
    expect(xcode.stdout).toContain('--skip xcode');
    const skipping = await mac.guest('provision.sh', ['--only', 'xcode', '--skip', 'xcode']);
    expect([skipping.status, outcomesOf(skipping).xcode]).toEqual([0, 'skipped']);
  });

  inDetail('another version of the monitor is noticed and replaced', async () => {
    using mac = standInMac(shell);
    expect((await step(mac, 'monitor')).word).toBe('changed');
    writeFileSync(join(mac.root, 'usr/local/bin/vm-monitor.sh'), '#!/bin/sh\n');
    expect((await step(mac, 'monitor', ['--check'])).detail).toContain('another version');
    expect((await step(mac, 'monitor')).word).toBe('changed');
    writeFileSync(join(mac.root, 'usr/local/share/tartbeat/provision/30-power.sh'), 'exit 0\n');
    expect((await step(mac, 'monitor', ['--check'])).detail).toContain('share/tartbeat is absent or another version');
  });

  inDetail('a Homebrew that is there is kept; a folder in its place is not touched', async () => {
    using mac = standInMac(shell);
    const folder = join(mac.root, 'opt/homebrew');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'something'), '');
    const failed = await step(mac, 'homebrew');
    expect(failed.word).toBe('failed');
    expect(failed.detail).toContain('rmdir');
    expect(existsSync(join(folder, 'something'))).toBe(true);
    rmSync(join(folder, 'something'));
    expect((await step(mac, 'homebrew')).word).toBe('changed');
    mac.remember('brew-version', '5.0.1');
    expect((await step(mac, 'homebrew')).detail).toContain('Homebrew 5.0.1');
  });

  inDetail('the screen saver stays off when a clone gets another serial number', async () => {
    using mac = standInMac(shell);
    expect((await step(mac, 'screen-saver')).word).toBe('changed');
    mac.forget('host-com.apple.screensaver-idleTime');
    expect((await step(mac, 'screen-saver', ['--check'])).word).toBe('ok');
    mac.remember('host-com.apple.screensaver-idleTime', '1200');
    expect((await step(mac, 'screen-saver', ['--check'])).detail).toContain('starts after 1200 s');
  });

  inDetail('macOS gets the whole disk, and a disk that is smaller than was asked for is a finding', async () => {
    using mac = standInMac(shell);
    const disk = (...args: string[]) => mac.guest('provision.sh', ['--only', 'disk', ...args]);
    mac.remember('container-kb', '48828125');
    expect((await step(mac, 'disk', ['--check'])).detail).toBe('macOS has 50 GB of a disk of 140 GB');
    for (const [fails, message] of [
      ['repairDisk', 'diskutil repairDisk'],
      ['resizeContainer', "'diskutil apfs resizeContainer disk0s2 0' failed with exit code 7"],
    ] as const) {
      mac.fail('diskutil', fails);
      const failed = await step(mac, 'disk');
      expect(failed).toMatchObject({ word: 'failed', detail: expect.stringContaining(message) });
      expect(failed.stdout).toContain('Recovery partition');
    }
    mac.repair();
    mac.calls();
    expect(outcomesOf(await disk('--disk-gb', '140')).disk).toBe('changed');
    expect(mac.calls()).toEqual(['diskutil repairDisk disk0', 'diskutil apfs resizeContainer disk0s2 0']);
    expect((await step(mac, 'disk', ['--check'])).detail).toBe('macOS has 139 GB of a disk of 140 GB');
    expect((await disk('--check', '--disk-gb', '200')).stdout).toContain('the disk has 140 GB, not 200 GB');
    const verified = await mac.guest('verify.sh', ['--only', 'disk', '--disk-gb', '200']);
    expect([verified.status, outcomesOf(verified).disk]).toEqual([1, 'fail']);
  });

  inDetail('Xcode comes from a download, under the name of its version, once', async () => {
    using mac = standInMac(shell);
    rmSync(join(mac.root, 'Applications'), { recursive: true });
    mkdirSync(join(mac.root, 'Applications'));
    mkdirSync(join(mac.home, 'x'));
    const xip = join(mac.home, 'x/Xcode.xip');
    const run = () => mac.guest('provision.sh', ['--only', 'xcode-download', '--only', 'xcode', '--xcode-file', xip]);
    writeFileSync(xip, 'xxx');
    expect((await run()).stdout).toContain('xip --expand');
    writeFileSync(xip, 'xar!no version');
    expect((await run()).stdout).toContain('Xcode.xip holds no Xcode with a version');
    writeFileSync(xip, 'xar!27.0');
    expect(outcomesOf(await run())).toEqual({ 'xcode-download': 'changed', xcode: 'changed' });
    expect(existsSync(join(mac.root, 'Applications/Xcode_27.0.app/Contents/Developer'))).toBe(true);
    mac.calls();
    expect(outcomesOf(await run())).toEqual({ 'xcode-download': 'ok', xcode: 'ok' });
    expect(mac.calls()).toEqual([]);
    expect((await step(mac, 'xcode-download')).detail).toBe('Xcode_27.0.app is from a download');
  });
});
