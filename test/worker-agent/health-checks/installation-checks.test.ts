/** Shows what doctor makes of a Tart and a softnet: their origin, their version and their rights. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type AgentConfigInput, parseConfig } from '../../../worker-agent/config.ts';
import { INSTALLATION_CHECKS } from '../../../worker-agent/health-checks/installation-checks.ts';
import { runChecks } from '../../../worker-agent/health-checks/run-checks.ts';
import { commandOf } from '../../../worker-agent/mac/installation.ts';
import type { Mac } from '../../../worker-agent/mac/programs.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { standInMac } from '../factories/stand-in-mac.ts';

const signal = new AbortController().signal;

/** A Mac whose `tart` runs this script, and is a keg of Homebrew if a tap is given. */
function macWith({ tart = 'echo 2.40.1', tap, macos = '26.6' }: { tart?: string; tap?: string; macos?: string } = {}) {
  const stand = standInMac();
  const keg = join(stand.dir, 'Cellar/tart/any');
  const program = join(tap ? join(keg, 'bin') : stand.dir, 'tart');
  mkdirSync(dirname(program), { recursive: true });
  writeFileSync(program, `#!/bin/sh\n${tart}\n`, { mode: 0o755 });
  if (tap) writeFileSync(join(keg, 'INSTALL_RECEIPT.json'), JSON.stringify({ source: { tap } }));
  const linked = join(stand.dir, 'linked-tart');
  symlinkSync(program, linked);
  stand.command('sw_vers', `echo ${macos}`);
  stand.command('mount', `echo '/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)'`);
  const check = async (id: string, change: Partial<AgentConfigInput> = {}, mac: Mac = stand.mac) => {
    const settings = {
      ...{
        vmName: 'v',
        vmUser: 'u',
        vmSshKey: '/k',
        controllerUrl: 'http://127.0.0.1:9',
        apiKey: 'tb_worker_12345678',
      },
      ...{ tartPath: linked, tartHome: '/Users/admin/.tart' },
      ...change,
    };
    const config = parseConfig(JSON.stringify(settings), 'test');
    const context = { configPath: '/none', config, tart: () => createTart(config), mac };
    const checks = INSTALLATION_CHECKS.filter((one) => one.id === id).map((one) => ({ ...one, dependsOn: [] }));
    return (await runChecks(checks, context, { signal }))[0]!;
  };
  return { ...stand, check, [Symbol.dispose]: () => stand[Symbol.dispose]() };
}

test.for<[macos: string, version: string, status: string, fix?: string]>([
  ['26.6', '2.40.1', 'pass'],
  ['27.0', '2.39.0', 'pass'],
  ['27.0', '2.38.0', 'warn', 'upgrade-tart'],
  ['26.6', '2.33.1', 'warn', 'upgrade-tart'],
  ['15.7.6', '2.34.0', 'pass'],
  ['15.7.6', '2.33.1', 'pass'],
  ['15.7.6', '2.32.1', 'warn', 'unpack-tart'],
  ['15.7.6', '2.38.0', 'warn', 'unpack-tart'],
])('on macOS %s Tart %s: %s', async ([macos, version, status, fix]) => {
  using mac = macWith({ macos, tart: `echo ${version}` });
  const result = await mac.check('tart_version');
  expect(result.status).toBe(status);
  if (fix) expect(result.fix).toContain(commandOf(fix));
});

test('an installation from the old tap is told how to move, one from the new tap is not', async () => {
  using old = macWith({ tap: 'cirruslabs/cli', tart: 'echo 2.32.1' });
  const moving = await old.check('tart_version');
  expect(moving).toMatchObject({
    status: 'warn',
    detail: '2.32.1 from the tap cirruslabs/cli, which gets no newer one',
  });
  for (const name of ['leave-old-tap', 'forget-old-tap', 'trust-tap', 'add-tap', 'tart'])
    expect(moving.fix).toContain(commandOf(name));
  using now = macWith({ tap: 'openai/tools' });
  expect(await now.check('tart_version')).toMatchObject({ status: 'pass', detail: '2.40.1 on macOS 26.6' });
});

test('a Tart that this macOS cannot load is told how to get one that it can', async () => {
  using mac = macWith({
    macos: '15.7.6',
    tart: `echo 'dyld[1]: Library not loaded: @rpath/libswiftCompatibilitySpan.dylib' >&2; kill -ABRT $$`,
  });
  const result = await mac.check('tart');
  expect(result).toMatchObject({ status: 'fail', detail: expect.stringContaining('libswiftCompatibilitySpan.dylib') });
  for (const name of ['download-tart', 'check-tart', 'folder-of-tart', 'unpack-tart'])
    expect(result.fix).toContain(commandOf(name));
  expect(result.fix).not.toContain('brew');
});

test.for<[home: string, status: string, detail: RegExp]>([
  ['/Users/admin/.tart', 'pass', /^\/Users\/admin\/\.tart$/],
  ['/Volumes/vms/tart', 'pass', /vms/],
  ['/Volumes/old disk/tart', 'fail', /is on a disk of the format hfs$/],
  ['/Volumes/gone/tart', 'fail', /^no disk is mounted at \/Volumes\/gone$/],
  ['/Volumes/vms/virtual machines of the build farm', 'warn', /\d bytes too long for the sockets/],
])('TART_HOME at %s: %s', async ([home, status, detail]) => {
  using mac = macWith();
  mac.command(
    'mount',
    `cat <<'END'
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse, protect)
/dev/disk5s1 on /Volumes/vms (apfs, local, nodev, nosuid, journaled, noowners)
/dev/disk6s2 on /Volumes/old disk (hfs, local, nodev, nosuid, journaled, noowners)
END`,
  );
  const result = await mac.check('tart_home', { tartHome: home });
  expect(result).toMatchObject({ status, detail: expect.stringMatching(detail) });
  expect(result.fix === null).toBe(status === 'pass');
});

/** Puts a softnet on the PATH, with a link in front of it, as Homebrew has it. */
function withSoftnet(dir: string, mode: number) {
  const before = process.env.PATH;
  onTestFinished(() => void (process.env.PATH = before));
  const program = join(dir, 'softnet-in-its-keg');
  writeFileSync(program, '#!/bin/sh\n');
  chmodSync(program, mode);
  mkdirSync(join(dir, 'path'));
  symlinkSync(program, join(dir, 'path/softnet'));
  process.env.PATH = `${join(dir, 'path')}:${before}`;
  return program;
}

test('softnet is looked at only where isolation uses it', async () => {
  using mac = macWith();
  mac.command('sudo', 'exit 1');
  expect(await mac.check('softnet')).toMatchObject({ status: 'skipped' });
  const missing = await mac.check('softnet', { isolation: 'softnet' });
  expect(missing.detail).toBe('isolation is "softnet", but softnet is not installed, so no VM starts');
  expect(missing.fix).toContain(commandOf('softnet'));
});

test('softnet without its SUID bit is found, also where sudo would ask for a password', async () => {
  using mac = macWith();
  const program = withSoftnet(mac.dir, 0o755);
  mac.command('sudo', 'exit 1');
  const result = await mac.check('softnet', { isolation: 'controller' });
  expect(result).toMatchObject({ status: 'warn', detail: `${program} is not SUID root, so no VM starts` });
  expect(result.fix).toContain(commandOf('softnet-root'));
  expect(mac.calls()).toEqual([`sudo -k -n ${program} --help`]);
  mac.command('sudo', 'exit 0');
  expect((await mac.check('softnet', { isolation: 'controller' })).status).toBe('pass');
  // Root may always do it. So the check is about the account that tart runs as.
  await mac.check('softnet', { isolation: 'controller' }, { ...mac.mac, uid: 0 });
  expect(mac.calls().at(-1)).toBe(`sudo -n -u admin -- ${mac.mac.pathOf('sudo')} -k -n ${program} --help`);
});

test.runIf(process.getuid?.() === 0)('a softnet that is SUID root needs no sudo', async () => {
  using mac = macWith();
  withSoftnet(mac.dir, 0o4755);
  expect((await mac.check('softnet', { isolation: 'softnet' })).status).toBe('pass');
  expect(mac.calls()).toEqual([]);
});
