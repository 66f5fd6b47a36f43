import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeRoom } from '../../../worker-agent/images/make-room.ts';
import { firstState } from '../../../worker-agent/images/roll-out.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { imageFolder } from '../../../worker-agent/tart-simulator/home/image-names.ts';
import { freeBytes, writeDisk } from '../../../worker-agent/tart-simulator/home/simulated-disk.ts';
import { pullImage } from '../../../worker-agent/tart-simulator/registry/pull.ts';
import { TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { BASE, simulatedMac } from '../tart-simulator/simulated-mac.ts';

const GB = 1e9;
const DAY_MS = 86_400_000;
const image = (name: string, digit: string) => `ghcr.io/acme/${name}@sha256:${digit.repeat(64)}`;
const [OLD, OLDER, CURRENT, PREVIOUS] = [image('a', '1'), image('b', '2'), image('c', '3'), image('d', '4')];

/** A Mac with four pulled images of 20 GB each, last used 2, 3, 8 and 9 days ago, and 20 GB free. */
async function macWithPulledImages() {
  const mac = await simulatedMac();
  const sizes = { compressedBytes: 15 * GB, allocatedBytes: 20 * GB, diskBytes: 50 * GB };
  const disk = { totalBytes: 200 * GB, otherBytes: 100 * GB, image: sizes };
  // Tart makes room before it pulls, so the disk is large at first.
  writeDisk(mac.home, { ...disk, totalBytes: 400 * GB });
  for (const [name, days] of [
    [OLD, 2],
    [OLDER, 3],
    [CURRENT, 8],
    [PREVIOUS, 9],
  ] as const) {
    // Does what `tart pull` does, without a process for each image.
    await pullImage(mac.home, name, { insecure: false });
    const usedAt = new Date(Date.now() - days * DAY_MS);
    utimesSync(imageFolder(mac.home, name), usedAt, usedAt);
  }
  writeDisk(mac.home, disk);
  const first = firstState('mac-base-snapshot');
  const state = {
    current: { ...first.current, reference: CURRENT },
    previous: { ...first.current, reference: PREVIOUS },
  };
  const room = {
    tart: createTart({ tartPath: TART_SIMULATOR_PATH, tartHome: mac.home }),
    images: [state],
    roomOf: async () => ({ totalBytes: 200 * GB, freeBytes: freeBytes(mac.home) }),
  };
  return { mac, room, [Symbol.asyncDispose]: mac[Symbol.asyncDispose] };
}

test('as many pulled images go as are needed, the one first that was used longest ago', async () => {
  await using there = await macWithPulledImages();
  const { mac, room } = there;
  expect(await makeRoom({ ...room, neededBytes: 20 * GB })).toEqual([]);
  expect(await makeRoom({ ...room, neededBytes: 30 * GB })).toEqual([OLDER]);
  expect(await mac.names()).toEqual([BASE, OLD, CURRENT, PREVIOUS]);
});

test('what a generation or the caller names stays, and so does what was just used, even if room is missing', async () => {
  await using there = await macWithPulledImages();
  const { mac, room } = there;
  await mac.tartWith({ TART_NO_AUTO_PRUNE: '1' }, 'clone', OLDER, 'vm');
  expect(await makeRoom({ ...room, keep: [OLD], neededBytes: 100 * GB })).toEqual([]);
  expect(await makeRoom({ ...room, neededBytes: 40 * GB })).toEqual([OLD]);
  expect(await mac.names()).toEqual([BASE, 'vm', OLDER, CURRENT, PREVIOUS]);
});

test('nothing goes if all that may go would not be enough', async () => {
  await using there = await macWithPulledImages();
  const { mac, room } = there;
  expect(await makeRoom({ ...room, neededBytes: 61 * GB })).toEqual([]);
  expect(await mac.names()).toEqual([BASE, OLD, OLDER, CURRENT, PREVIOUS]);
  expect(await makeRoom({ ...room, neededBytes: 60 * GB })).toEqual([OLDER, OLD]);
});

test('the pulled copy that the present snapshot was made of stays, whatever it was published as', async () => {
  await using there = await macWithPulledImages();
  const { room } = there;
  const [state] = room.images;
  const published = { ...state!.current, digest: OLDER!.split('@')[1]!, reference: image('z', '5') };
  expect(await makeRoom({ ...room, images: [{ ...state!, current: published }], neededBytes: 30 * GB })).toEqual([
    CURRENT,
  ]);
});

test('downloaded IPSW files go in the same order', async () => {
  await using there = await macWithPulledImages();
  const { mac, room } = there;
  const folder = join(mac.home, 'cache', 'IPSWs');
  mkdirSync(folder, { recursive: true });
  for (const [name, days] of [
    ['old.ipsw', 30],
    ['new.ipsw', 0],
  ] as const) {
    writeFileSync(join(folder, name), '');
    const usedAt = new Date(Date.now() - days * DAY_MS);
    utimesSync(join(folder, name), usedAt, usedAt);
  }
  expect(await makeRoom({ ...room, neededBytes: 60 * GB })).toEqual(['old.ipsw', OLDER, OLD]);
  expect(readdirSync(folder)).toEqual(['new.ipsw']);
});
