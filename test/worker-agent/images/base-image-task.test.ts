import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { saveConfig } from '../../../worker-agent/config.ts';
import { taskOf } from '../../../worker-agent/images/base-image-task.ts';
import { Images } from '../../../worker-agent/images/images.ts';
import { readPublicImages } from '../../../worker-agent/images/public-images.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const DIGEST = `sha256:${'c'.repeat(64)}`;
const FLEET = `ghcr.io/acme/builder@${DIGEST}`;
const NAMES = readPublicImages().map(({ name }) => name);

/** `pulled` are the tags that Tart knows the digest of. */
async function macWith(vms: string[], { pulled = '-', images = ['xcode-26', 'xcode-27'] } = {}) {
  const dir = temporaryDir();
  const tartPath = join(dir.path, 'tart');
  writeFileSync(tartPath, `#!/bin/sh\n[ "$*" = 'fqn ${pulled}' ] || exit 1\necho "\${2%:*}@${DIGEST}"\n`, {
    mode: 0o755,
  });
  const configPath = join(dir.path, 'config.json');
  const config = saveConfig(configPath, {
    ...{ vmUser: 'admin', vmSshKey: join(dir.path, 'key'), apiKey: 'tb_worker_x', tartPath },
    ...{ controllerUrl: 'http://localhost:3000', tartHome: join(dir.path, 'tart-home') },
    images: images.map((name) => ({ name, vmName: `${name}-vm`, platforms: ['ios'] })),
  });
  const tart = createTart(config);
  const known = Images.open({ configPath, config, tart, emit: () => {} });
  const there = { local: new Map(vms.map((name) => [name, 90])), pulled: new Set<string>() };
  return {
    images: known,
    task: (name: string, from?: string, ...more: string[]) => taskOf({ images: known, tart, name, from, more }, there),
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}

test('a further image is made only from what --from names, or from what it came from before', async () => {
  using mac = await macWith(['mine']);
  await expect(mac.task('xcode-27')).rejects.toThrow(
    `say with --from what xcode-27 is made from; the names are in vm-image/public-images: ${NAMES.join(', ')}`,
  );
  expect(await mac.task('xcode-27', undefined, '--xcode', 'Xcode.xip')).toMatchObject({ from: undefined });
  expect(await mac.task('xcode-27', 'mine')).toMatchObject({ from: 'mine', source: { words: 'the VM mine' } });
  mac.images.record('xcode-27', { vm: 'xcode-27-vm-base-cccc', digest: null, provisioned: null, reference: FLEET });
  expect(await mac.task('xcode-27')).toMatchObject({ from: FLEET });
  using half = await macWith(['xcode-27-vm']);
  expect(await half.task('xcode-27')).toMatchObject({ from: undefined, vm: 'xcode-27-vm' });
  using single = await macWith([], { images: ['default'] });
  expect(await single.task('default')).toMatchObject({ from: undefined, source: { words: NAMES[0] } });
});

test('--force makes an image of the fleet from the image of the fleet, once its VM is gone', async () => {
  using mac = await macWith(['xcode-26-vm-base-cccc']);
  const current = { vm: 'xcode-26-vm-base-cccc', digest: null, provisioned: null, reference: FLEET };
  mac.images.record('xcode-26', current);
  expect(await mac.task('xcode-26', undefined, '--force')).toMatchObject({
    ...{ from: FLEET, vm: 'xcode-26-vm', snapshot: 'xcode-26-vm-base-snapshot', isRollOut: false },
    source: { reference: FLEET },
  });
  using withVm = await macWith(['xcode-26-vm-base-cccc', 'xcode-26-vm']);
  withVm.images.record('xcode-26', current);
  expect(await withVm.task('xcode-26', undefined, '--force')).toMatchObject({ from: undefined });
});

test('a name that nobody knows is refused with those that there are', async () => {
  using mac = await macWith([]);
  await expect(mac.task('xcode-27', 'tahoe-xcode-28')).rejects.toThrow(
    `this Mac has no VM tahoe-xcode-28, and vm-image/public-images has no such name. It has ${NAMES.join(', ')}`,
  );
});

test('a new snapshot beside the present one has its name from a digest, also if a tag was given', async () => {
  const row = readPublicImages().find(({ reference }) => !reference.includes('@'))!;
  using unknown = await macWith(['xcode-27-vm-base-snapshot']);
  await expect(unknown.task('xcode-27', row.name)).rejects.toThrow(`Run \`tart pull ${row.reference}\` (about 63 GB)`);
  await expect(unknown.task('xcode-27')).rejects.toThrow('the image xcode-27 is there already');
  await expect(unknown.task('xcode-27', 'ghcr.io/acme/x@sha256:12')).rejects.toThrow('with 64 hexadecimal digits');
  expect(await unknown.task('xcode-27', NAMES[0])).toMatchObject({
    ...{ from: NAMES[0], isRollOut: true },
    source: { reference: readPublicImages()[0]!.reference },
  });
  using pulled = await macWith(['xcode-27-vm-base-snapshot'], { pulled: row.reference });
  const from = `${row.reference.split(':')[0]}@${DIGEST}`;
  expect(await pulled.task('xcode-27', row.name)).toMatchObject({
    ...{ from, vm: 'xcode-27-vm-next', snapshot: `xcode-27-vm-base-${'c'.repeat(12)}`, isRollOut: true },
    source: { reference: from, size: row.size },
  });
});
