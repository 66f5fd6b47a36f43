import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { freePort } from '../../../local/farm/free-port.ts';
import { loadConfig, saveConfig } from '../../../worker-agent/config.ts';
import { type BaseImageOptions, makeBaseImage } from '../../../worker-agent/images/base-image.ts';
import { Images } from '../../../worker-agent/images/images.ts';
import { readMadeWith } from '../../../worker-agent/images/made-with.ts';
import { readKeptByPlan } from '../../../worker-agent/images/plan-file.ts';
import { readPublicImages } from '../../../worker-agent/images/public-images.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { imageFolder } from '../../../worker-agent/tart-simulator/home/image-names.ts';
import { writeSettings } from '../../../worker-agent/tart-simulator/home/settings.ts';
import { freeBytes, lowestFreeBytes, writeDisk } from '../../../worker-agent/tart-simulator/home/simulated-disk.ts';
import { generateKeyPair } from '../../../worker-agent/tart-simulator/key-pair.ts';
import { sweepSimulator, TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { PROVISIONED, quickVmImage } from '../factories/quick-vm-image.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const GB = 1e9;
/** The space of macOS, and of what people have on such a Mac. */
const OTHER_GB = 45;
const [PUBLIC] = readPublicImages();

/** A Mac without an image, whose disk is a simulated one. */
async function macWithDisk(totalGb: number, { slots = 2 } = {}) {
  const dir = temporaryDir();
  const path = (name: string) => join(dir.path, name);
  const home = path('tart');
  const key = generateKeyPair();
  mkdirSync(home);
  writeFileSync(path('key'), key.private, { mode: 0o600 });
  writeFileSync(path('key.pub'), `${key.public}\n`);
  const sshPort = await freePort();
  writeSettings(home, { sshPort });
  const { downloadGb, unpackedGb } = PUBLIC!.size;
  writeDisk(home, {
    ...{ totalBytes: totalGb * GB, otherBytes: OTHER_GB * GB, writtenPerRunBytes: 12 * GB },
    image: { compressedBytes: downloadGb * GB, allocatedBytes: unpackedGb * GB, diskBytes: 140 * GB },
  });
  const configPath = path('config.json');
  const config = saveConfig(configPath, {
    ...{ vmName: 'mac', vmUser: 'admin', vmSshKey: path('key'), vmSshPort: sshPort, apiKey: 'tb_worker_x' },
    ...{ controllerUrl: 'http://localhost:3000', tartPath: TART_SIMULATOR_PATH, tartHome: home },
    maxConcurrentBuilds: slots,
  });
  for (const [name, value] of Object.entries(quickVmImage(dir.path).environment)) vi.stubEnv(name, value);
  const tart = createTart(config);
  const said: string[] = [];
  const lines: string[] = [];
  const images = Images.open({ configPath, config, tart, emit: () => {} });
  const make = (options: Partial<BaseImageOptions> = {}) =>
    makeBaseImage({
      ...{ config, configPath, images, tart, more: [], yes: true, ask: null },
      roomOf: async () => ({ totalBytes: totalGb * GB, freeBytes: freeBytes(home) }),
      say: (line) => said.push(line),
      onLine: (line) => lines.push(line),
      signal: new AbortController().signal,
      ...options,
    });
  return {
    ...{ home, tart, images, said, lines, make, configPath, stateDir: path('state') },
    names: async () => {
      const listed = await tart.list();
      return listed.ok ? listed.vms.map(({ name }) => name).sort() : [];
    },
    lowestFreeGb: () => lowestFreeBytes(home) / GB,
    async [Symbol.asyncDispose]() {
      vi.unstubAllEnvs();
      await sweepSimulator(home);
      dir[Symbol.dispose]();
    },
  };
}

test.each([
  [256, { keepPulled: false, keepPrevious: false }, 'no previous image is kept'],
  [512, { keepPulled: true, keepPrevious: true }, 'everything is kept'],
  [1000, { keepPulled: true, keepPrevious: true }, 'everything is kept'],
])('on a disk of %i GB the plan is %o, and the disk is never full', async (totalGb, kept, words) => {
  await using mac = await macWithDisk(totalGb);
  expect(await mac.make(), mac.lines.join('\n')).toBe(0);
  expect(mac.said.join('\n')).toContain(words);
  expect(readKeptByPlan(mac.stateDir)).toEqual(kept);
  const snapshot = ['mac', 'mac-base-snapshot'];
  expect(await mac.names()).toEqual(kept.keepPulled ? [PUBLIC!.reference, ...snapshot] : snapshot);
  const [{ current }] = mac.images.list() as [ReturnType<Images['list']>[number]];
  expect(current).toMatchObject({
    vm: 'mac-base-snapshot',
    digest: PUBLIC!.reference.split('@')[1],
    provisioned: PROVISIONED,
  });
  // Two clones grow by all that they may, and what macOS needs is still free.
  expect(mac.lowestFreeGb() - 2 * 15).toBeGreaterThanOrEqual(10);
});

test('what does not fit is refused before anything is downloaded', async () => {
  await using mac = await macWithDisk(128);
  await expect(mac.make()).rejects.toThrow('it does not fit');
  expect(mac.said.at(-1)).toMatch(/^This does not fit: .* an external APFS disk/);
  expect(await mac.names()).toEqual([]);
});

test('a plan that gives something up needs a person, or --yes', async () => {
  await using mac = await macWithDisk(256);
  await expect(mac.make({ yes: false })).rejects.toThrow('Give --yes to accept this plan');
  expect(await mac.make({ yes: false, ask: async () => false })).toBe(130);
  expect(await mac.names()).toEqual([]);
});

test('a plan with fewer slots changes the config', async () => {
  await using mac = await macWithDisk(190);
  expect(await mac.make(), mac.lines.join('\n')).toBe(0);
  expect(mac.said.join('\n')).toContain('this Mac runs 1 build at a time instead of 2');
  expect((await loadConfig(mac.configPath)).maxConcurrentBuilds).toBe(1);
});

test('an image that is there is replaced only by one that --from names by its digest', async () => {
  await using mac = await macWithDisk(512);
  expect(await mac.make(), mac.lines.join('\n')).toBe(0);
  await expect(mac.make()).rejects.toThrow('the image default is there already, as mac-base-snapshot');
  await expect(mac.make({ name: 'other' })).rejects.toThrow('has no image other; it has default');

  // Doctor finds no controller here, so no candidate passes.
  const from = 'golden-gate-xcode-27';
  const next = 'mac-base-324ea5656dee';
  const notUsed = () => mac.said.filter((line) => line.startsWith(`${next} is not used: `));
  expect(await mac.make({ from }), mac.lines.join('\n')).toBe(1);
  expect(notUsed()).toEqual([expect.stringContaining('`expo-worker images promote default` uses it all the same.')]);
  expect(await mac.names()).toEqual(expect.arrayContaining(['mac-base-snapshot', next]));
  expect(await mac.names()).not.toContain('mac-next');

  // The image is there already, so the same command only examines it.
  mac.lines.length = 0;
  const stop = new AbortController();
  const say = (line: string) => {
    mac.said.push(line);
    if (line.startsWith('Examining')) stop.abort();
  };
  await expect(mac.make({ from, say, signal: stop.signal })).rejects.toThrow();
  expect(notUsed().at(-1)).toContain('it was not examined to the end');
  expect(mac.lines).toEqual([]);
  expect(mac.images.list()[0]).toMatchObject({ current: { vm: 'mac-base-snapshot' }, candidate: { vm: next } });

  // --force does not overwrite a snapshot either: the next one has the next free name. Doctor examines it
  // too.
  mac.images.promote('default');
  await expect(mac.make({ from })).rejects.toThrow(
    `builds of default are cloned from the image of this digest that --from names already: ${next}. --force`,
  );
  expect(await mac.make({ more: ['--force', '--packet-filter', '10.0.0.1'] }), mac.lines.join('\n')).toBe(1);
  const repaired = 'mac-base-snapshot-2';
  expect(mac.said.at(-1)).toMatch(new RegExp(`^${repaired} is not used: `));
  const before = { vm: 'mac-base-snapshot', provisioned: PROVISIONED };
  expect(mac.images.list()[0]).toMatchObject({ current: { vm: next }, previous: before, candidate: { vm: repaired } });
  expect(readMadeWith(mac.stateDir, repaired).packetFilter).toBe('10.0.0.1');
  mac.images.promote('default');
  await expect(mac.make({ from })).rejects.toThrow('`expo-worker images back default` returns to it');
});

test('where only one image fits, the advice names every VM that holds its blocks', async () => {
  await using mac = await macWithDisk(256);
  const shown = { source: 'local' as const, state: 'stopped' as const, accessedAt: null, sizeGb: null };
  const vms = ['mac', 'mac-base-snapshot'].map((name) => ({ name, ...shown }));
  const tart = { ...mac.tart, list: async () => ({ ok: true as const, vms }) };
  const roomOf = async () => ({ totalBytes: 256 * GB, freeBytes: 110 * GB });
  const from = `ghcr.io/acme/builder@sha256:${'c'.repeat(64)}`;
  await expect(mac.make({ tart, roomOf, from })).rejects.toThrow(
    'Delete the present one first: `tart delete mac-base-snapshot mac`. ' +
      'Until the new image is made, no build of this Mac gets the image default',
  );
});

test('what is deleted to make room stands in the plan, and goes only once that was accepted', async () => {
  await using mac = await macWithDisk(250);
  const old = `ghcr.io/acme/builder@sha256:${'c'.repeat(64)}`;
  expect((await mac.tart.pull(old)).ok).toBe(true);
  const usedAt = new Date(Date.now() - 86_400_000);
  utimesSync(imageFolder(mac.home, old), usedAt, usedAt);
  await expect(mac.make({ yes: false })).rejects.toThrow('Give --yes');
  expect(await mac.make({ yes: false, ask: async () => false })).toBe(130);
  expect(mac.said).toContainEqual(expect.stringContaining(`so these are deleted first: ${old} (`));
  expect(await mac.names()).toEqual([old]);
  // Nothing is deleted where the deletion would not free enough.
  const less = async () => ({ totalBytes: 250 * GB, freeBytes: 30 * GB });
  await expect(mac.make({ roomOf: less })).rejects.toThrow('it does not fit');
  expect(await mac.names()).toEqual([old]);
  // A VM may hold the same blocks.
  const shared = async () => ({ totalBytes: 250 * GB, freeBytes: 125 * GB });
  await expect(mac.make({ roomOf: shared })).rejects.toThrow('VMs of this Mac hold the same blocks');
  expect(await mac.names()).toEqual([]);
});
