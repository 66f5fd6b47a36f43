import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  freeBytes,
  lowestFreeBytes,
  type SimulatedDisk,
  writeDisk,
} from '../../../worker-agent/tart-simulator/home/simulated-disk.ts';
import { TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { BASE, simulatedMac } from './simulated-mac.ts';

const GB = 1e9;
const IMAGE = 'ghcr.io/cirruslabs/macos-tahoe-xcode@sha256:'.padEnd(44 + 64, 'a');
const OTHER = 'ghcr.io/cirruslabs/macos-golden-gate-xcode@sha256:'.padEnd(50 + 64, 'b');

async function macWithDisk(disk: SimulatedDisk) {
  const mac = await simulatedMac();
  writeDisk(mac.home, disk);
  return { mac, freeGb: () => Math.round(freeBytes(mac.home) / GB), [Symbol.asyncDispose]: mac[Symbol.asyncDispose] };
}

test('an image takes what a public one takes, a clone nothing, and a run what the VM writes', async () => {
  await using there = await macWithDisk({ totalBytes: 500 * GB, otherBytes: 100 * GB, writtenPerRunBytes: 3 * GB });
  const { mac, freeGb } = there;
  const pulled = await mac.tart('pull', IMAGE);
  expect(pulled.stdout).toContain('pulling disk (62.1 GB compressed)...');
  expect(freeGb()).toBe(319);
  await mac.tart('clone', IMAGE, 'vm');
  expect(freeGb()).toBe(319);
  const [row] = JSON.parse((await mac.tart('list', '--format', 'json', '--source', 'oci')).stdout);
  expect(row).toMatchObject({ Name: IMAGE, Disk: 140, Size: 81 });
  mac.run('vm');
  await mac.address('vm');
  expect(freeGb()).toBe(316);
  await mac.tart('stop', 'vm');
  await mac.tart('delete', IMAGE);
  expect(freeGb(), 'the clone has the blocks of the image').toBe(316);
  await mac.tart('delete', 'vm');
  expect(freeGb()).toBe(400);
});

test('what does not fit ends with the words of Tart, and leaves nothing after the next command', async () => {
  await using there = await macWithDisk({ totalBytes: 256 * GB, otherBytes: 200 * GB });
  const { mac, freeGb } = there;
  const failed = await mac.tart('pull', IMAGE);
  expect(failed).toMatchObject({
    exitCode: 1,
    stderr: 'Error: The file “disk.img” couldn’t be saved because there isn’t enough space.',
  });
  expect(lowestFreeBytes(mac.home)).toBeGreaterThanOrEqual(0);
  expect(freeGb()).toBeLessThan(56);
  expect(await mac.names()).toEqual([BASE]);
  expect(freeGb()).toBe(56);
});

test('Tart prunes by itself at a pull and at a clone, unless it is told not to', async () => {
  await using there = await macWithDisk({ totalBytes: 300 * GB, otherBytes: 100 * GB });
  const { mac } = there;
  await mac.tart('pull', IMAGE);
  expect((await mac.tartWith({ TART_NO_AUTO_PRUNE: '1' }, 'pull', OTHER)).exitCode).toBe(0);
  await mac.tartWith({ TART_NO_AUTO_PRUNE: '1' }, 'clone', OTHER, 'kept');
  expect(await mac.names()).toEqual(['kept', BASE, OTHER, IMAGE]);
  await mac.tart('clone', OTHER, 'vm');
  expect(await mac.names(), 'the older one went, and the source stayed').toEqual(['kept', BASE, 'vm', OTHER]);
});

test('prune removes by age and by size', async () => {
  await using there = await macWithDisk({ totalBytes: 1000 * GB, otherBytes: 100 * GB });
  const { mac } = there;
  for (const image of [IMAGE, OTHER]) await mac.tart('pull', image);
  await mac.tart('prune', '--space-budget', '100');
  expect(await mac.names()).toEqual([BASE, OTHER]);
  await mac.tart('prune', '--older-than', '1');
  expect(await mac.names()).toEqual([BASE, OTHER]);
  await mac.tart('prune', '--older-than', '0');
  expect(await mac.names()).toEqual([BASE]);
});

test('the df of the host shows the simulated disk', async () => {
  await using there = await macWithDisk({ totalBytes: 256 * GB, otherBytes: 56 * GB });
  const path = join(TART_SIMULATOR_PATH, '../host/df');
  const printed = execFileSync(path, ['-k', there.mac.home], {
    env: { ...process.env, TART_HOME: there.mac.home },
    encoding: 'utf8',
  });
  expect(printed).toMatch(
    /^Filesystem +1024-blocks +Used +Available +Capacity .*\n\/dev\/disk3s5 +250000000 +54687500 +195312500 +22% /,
  );
});
