/** Tests several images on one Mac, their roll-out and the way back, with real agents and simulated VMs. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AgentConfigInput, loadConfig, saveConfig } from '../../worker-agent/config.ts';
import { Images } from '../../worker-agent/images/images.ts';
import { FaultFarm, type FaultyMac } from './factories/fault-farm.ts';

const EXPO_WORKER = new URL('../../worker-agent/expo-worker.ts', import.meta.url).pathname;
const MONITOR = 'usr/local/bin/vm-monitor.sh';
const TELL = 'cat "$TARTBEAT_ROOT/made-as"';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 3, startAgents: false });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

/** A Mac with the images xcode-26, for both platforms, and xcode-27, and with an agent that takes builds. */
async function withImages(mac: FaultyMac): Promise<MacWithImages> {
  const { tart, tartHome, configPath } = mac.mac;
  const rootOf = (vm: string) => join(tartHome, 'vms', vm, 'guest');
  const make = async (vm: string) => {
    const cloned = await tart.clone(mac.baseImage, vm);
    if (!cloned.ok) throw new Error(cloned.message);
    writeFileSync(join(rootOf(vm), 'made-as'), `${vm}\n`);
    const provisioned = Buffer.from(vm.padEnd(32)).toString('hex');
    return { vm, digest: `sha256:${'d'.repeat(64)}`, provisioned };
  };
  const { vmName: _, ...config } = JSON.parse(await readFile(configPath, 'utf8')) as AgentConfigInput;
  const images: AgentConfigInput['images'] = [
    { name: 'xcode-26', vmName: 'x26', platforms: ['ios', 'android'] },
    { name: 'xcode-27', vmName: 'x27', platforms: ['ios'] },
  ];
  for (const { vmName } of images!) await make(`${vmName}-base-snapshot`);
  saveConfig(configPath, { ...config, images });
  const open = async () =>
    Images.open({ ...{ configPath, config: await loadConfig(configPath), tart }, emit: () => {} });
  await mac.mac.startAgent();
  return {
    make,
    open,
    async rollOut(vm) {
      const images = await open();
      const signal = AbortSignal.timeout(200_000);
      expect(await images.addCandidate('xcode-26', await make(vm), { signal })).toBe('switched');
      expect(images.list()[0]!.current).toMatchObject({ vm, hostKey: expect.stringMatching(/^SHA256:/) });
    },
    break: (vm) => rmSync(join(rootOf(vm), MONITOR)),
    command: async (...args) => {
      const { stdout, stderr, exitCode } = await execa(
        process.execPath,
        [EXPO_WORKER, 'images', ...args, '--config', configPath],
        {
          reject: false,
        },
      );
      return { exitCode, text: stdout + stderr };
    },
  };
}

interface MacWithImages {
  make(vm: string): Promise<{ vm: string; digest: string; provisioned: string }>;
  open(): Promise<Images>;
  /** Rolls out as `expo-worker base-image` does while the agent runs. */
  rollOut(vm: string): Promise<void>;
  /** Makes later clones of this VM lack the monitor. */
  break(vm: string): void;
  command(...args: string[]): Promise<{ exitCode: number | undefined; text: string }>;
}

const BROKEN = { verdict: 'health_check_failed', step: 'monitor' } as const;
const ONCE = { maxAttempts: 1 };

test.concurrent('two images on one Mac; a roll-out that breaks builds is switched back by itself, once', async () => {
  await using mac = await macs.take();
  const own = await withImages(mac);
  const [byName, byDefault] = [
    await mac.build({ command: TELL, image: 'xcode-27' }),
    await mac.build({ command: TELL }),
  ];
  expect((await byName.succeeds('x27-base-snapshot\n')).attempts[0]?.image?.name).toBe('xcode-27');
  expect((await byDefault.succeeds('x26-base-snapshot\n')).attempts[0]?.image?.name).toBe('xcode-26');

  const bad = await own.make('x26-base-bad');
  own.break(bad.vm);
  const signal = AbortSignal.timeout(200_000);
  expect(await (await own.open()).addCandidate('xcode-26', bad, { signal })).toEqual({
    failed: expect.stringMatching(/^monitor@xcode-26: /),
  });
  await own.rollOut('x26-base-new');
  // A failed check of the controller blames no image, but counts towards the quarantine of the Mac.
  mac.mac.faultNextClone('net-cut');
  const cut = await mac.build({ ...ONCE, command: 'true' });
  const { attempts } = await cut.fails({ verdict: 'health_check_failed', step: 'controller' });
  expect(attempts[0]?.image).toMatchObject({
    provisioned: Buffer.from('x26-base-new'.padEnd(32)).toString('hex'),
  });
  const frozen = await mac.build({ ...ONCE, command: 'echo begun; sleep 600' });
  await frozen.prints('begun');
  await mac.fault('freeze');
  await frozen.fails({ verdict: 'vm_silent', cause: 'vm_frozen' });
  own.break('x26-base-new');
  const lacking = await mac.build({ ...ONCE, command: 'true' });
  await lacking.fails(BROKEN);
  expect(await mac.says('image', { change: 'switched_back' })).toMatchObject({
    ...{ image: 'xcode-26', vm: 'x26-base-snapshot' },
    message: expect.stringContaining(
      `${frozen.id} ended with vm_silent because of vm_frozen, ${lacking.id} ended with health_check_failed at monitor`,
    ),
  });
  expect(await mac.says('self_check')).toMatchObject({ ok: true });
  const isGone = () => !existsSync(join(mac.mac.tartHome, 'vms', bad.vm));
  await mac.until(isGone, 'the candidate before, which no image needs, is deleted');
  expect((await (await mac.build({ command: TELL })).succeeds('x26-base-snapshot\n')).attempt).toBe(1);

  // After that a person decides.
  expect((await own.command()).text).toMatch(/candidate: x26-base-new .*\n.*went back from x26-base-new/);
  expect(await own.command('promote', 'xcode-26')).toMatchObject({
    exitCode: 0,
    text: expect.stringContaining('x26-base-new'),
  });
  await mac.settles();
});

test.concurrent('a person goes back and promotes, and the agent that runs takes notice; what was promoted stays', async () => {
  await using mac = await macs.take();
  const own = await withImages(mac);
  await own.rollOut('x26-base-new');
  expect(await own.command('back', 'xcode-26')).toMatchObject({ exitCode: 0 });
  expect(await own.command('promote', 'xcode-26')).toMatchObject({ exitCode: 0 });
  own.break('x26-base-new');
  for (let builds = 0; builds < 2; builds++) await (await mac.build({ ...ONCE, command: 'true' })).fails(BROKEN);
  // The agent notes how a build has ended once the controller has answered its report.
  const isNoted = async () => (await own.open()).list()[0]!.strikes.length === 2;
  await mac.until(isNoted, 'both builds are noted');
  expect((await own.open()).list()[0]).toMatchObject({ current: { vm: 'x26-base-new' }, strikes: [{}, {}] });
  expect(await own.command('back', 'xcode-26')).toMatchObject({ exitCode: 0 });
  await (await mac.build({ command: TELL })).succeeds('x26-base-snapshot\n');
  expect(await own.command('back', 'xcode-26')).toMatchObject({
    exitCode: 1,
    text: expect.stringMatching(/no snapshot before/),
  });
  await mac.settles();
});

test.concurrent('a network that is cut for the whole farm switches nothing back; an image that is gone takes its offers along', async () => {
  await using mac = await macs.take();
  const own = await withImages(mac);
  await own.rollOut('x26-base-new');
  for (let clone = 0; clone < 2; clone++) mac.mac.faultNextClone('net-cut');
  for (let builds = 0; builds < 2; builds++)
    await (await mac.build({ ...ONCE, command: 'true' })).fails({ verdict: 'health_check_failed', step: 'controller' });
  const silent = await mac.build({ ...ONCE, command: 'echo begun; sleep 600' });
  await silent.prints('begun');
  await mac.fault('net-cut');
  await silent.fails({ verdict: 'vm_silent', cause: 'vm_network_down' });
  // The Mac is in quarantine by now: its own examination clears it.
  expect(await mac.says('self_check')).toMatchObject({ ok: true });
  const { current, previous, strikes } = (await own.open()).list()[0]!;
  expect({ current, previous, strikes }).toMatchObject({
    ...{ current: { vm: 'x26-base-new' }, previous: { vm: 'x26-base-snapshot' }, strikes: [] },
  });
  const removed = await mac.mac.tart.remove('x27-base-snapshot');
  expect(removed.ok).toBe(true);
  await mac.until(() => mac.warned('no VM x27-base-snapshot'), 'the missing image is told');
  const waiting = await mac.build({ command: TELL, image: 'xcode-27' });
  await (await mac.build({ command: TELL })).succeeds('x26-base-new\n');
  expect((await waiting.read()).status).toBe('queued');
  expect((await mac.farm.admin.worker(mac.mac.workerId)).images.map(({ name }) => name)).toEqual([
    'xcode-26',
    'xcode-26',
  ]);
  expect(existsSync(join(mac.mac.tartHome, 'vms', 'x26-base-snapshot'))).toBe(true);
  await mac.farm.api.cancel(waiting.id);
  await mac.settles();
});
