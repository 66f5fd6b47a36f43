/**
 * Tests the Fastfile of the guide: in any project a lane can report its progress, without another file in the
 * project.
 */
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { testWith } from '../set-up/test-with.ts';
import { SHELLS, type Shell } from './factories/guest-script.ts';
import { standInMac, VM_IMAGE } from './factories/stand-in-mac.ts';

const FASTLANE = join(import.meta.dirname, 'stand-ins/fastlane.rb');

/** A provisioned guest with a build under way, and a project whose Fastfile is this. */
async function guestWith(shell: Shell, fastfile: string) {
  const mac = standInMac(shell);
  const provisioned = await mac.guest('provision/20-monitor.sh');
  expect(provisioned.status, provisioned.stdout + provisioned.stderr).toBe(0);
  const share = join(mac.root, 'usr/local/share/tartbeat');
  const state = join(mac.home, '.tartbeat/b1-1');
  mkdirSync(state, { recursive: true });
  const project = join(mac.home, 'app/fastlane');
  mkdirSync(project, { recursive: true });
  mac.file('root/Users/admin/app/fastlane/Fastfile', fastfile);
  const script = mac.file(
    'lane.sh',
    // Hides the warning of bash if this machine does not have the locale.
    `. '${share}/build-environment.sh' 2>/dev/null\nTARTBEAT_STATE='${state}' "$@"\nexit $?\n`,
  );
  const inBuild = async (...command: string[]) => await mac.guest(script, command, { user: 'admin' });
  return Object.assign(mac, {
    share,
    project,
    inBuild,
    lane: (name: string) => inBuild('ruby', FASTLANE, join(project, 'Fastfile'), name),
  });
}

const LANES = `
lane :build do
  [[10], [30, 'Archiving & "signing"'], [90.4]].each do |arguments|
    send_heartbeat(*arguments)
    puts File.read("#{ENV['TARTBEAT_STATE']}/progress")
  end
  send_heartbeat(100)
end
lane(:much) { send_heartbeat('much') }
lane(:none) { send_heartbeat }
lane(:other) { send_heartbeats(1) }
`;

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const withRuby = testWith(shell, 'ruby');

  withRuby(`${shell}: each lane has send_heartbeat, by position`, async () => {
    using guest = await guestWith(shell, LANES);
    expect(await guest.lane('build')).toEqual({
      status: 0,
      stdout: '10\n30 Archiving & "signing"\n90\n',
      stderr: '',
    });
    for (const name of ['much', 'none']) {
      const { status, stdout } = await guest.lane(name);
      expect([status, stdout]).toEqual([1, expect.stringContaining('error: call it as send_heartbeat(30)')]);
    }
    expect((await guest.lane('other')).stdout).toContain("Could not find action or lane 'send_heartbeats'");

    // A copy of the file in the project's own folder works as well.
    cpSync(join(VM_IMAGE, 'fastlane/actions'), join(guest.project, 'actions'), { recursive: true });
    expect(await guest.lane('build')).toMatchObject({ status: 0, stderr: '' });
    // On a laptop.
    rmSync(join(guest.root, 'usr/local/bin/send_heartbeat'));
    rmSync(join(guest.share, 'fastlane'), { recursive: true });
    const { status, stdout } = await guest.lane('much');
    expect([status, stdout]).toEqual([0, expect.stringContaining('progress not reported')]);
  });

  declare(`${shell}: Ruby is told of the action only while the file is there`, async () => {
    using guest = await guestWith(shell, '');
    const option = async () => (await guest.inBuild('printenv', 'RUBYOPT')).stdout;
    const [, file] = /^-r(\S+\.rb)\n$/.exec(await option()) ?? [];
    expect(file && existsSync(file)).toBe(true);
    rmSync(file!);
    expect(await option()).toBe('');
  });
}
