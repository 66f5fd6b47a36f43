import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const EXPO_WORKER = new URL('../../../worker-agent/expo-worker.ts', import.meta.url).pathname;

test('base-image asks the Tart of the config, and says what is wrong before it makes anything', async () => {
  using dir = temporaryDir();
  const path = (name: string) => join(dir.path, name);
  const tart = (script: string) =>
    writeFileSync(path('tart'), `#!/bin/sh\necho "$TART_HOME: $*" >>'${path('calls')}'\n${script}\n`, { mode: 0o755 });
  const config = {
    ...{ vmName: 'expo-build-vm', vmUser: 'builder', vmSshKey: path('key'), vmSshPort: 2222 },
    ...{ controllerUrl: 'http://localhost:3000', apiKey: 'tb_worker_x', tartPath: path('tart'), tartHome: path('vms') },
  };
  writeFileSync(path('config.json'), JSON.stringify(config), { mode: 0o600 });
  const run = (...args: string[]) =>
    execa(process.execPath, [EXPO_WORKER, 'base-image', '--config', path('config.json'), ...args], { reject: false });

  tart('echo broken >&2; exit 3');
  expect(await run()).toMatchObject({ exitCode: 1, stderr: 'expo-worker: tart list: broken' });
  expect(readFileSync(path('calls'), 'utf8')).toContain(`${path('vms')}: list --format json\n`);
  tart(`echo '[{"Name":"expo-build-vm-base-snapshot","Source":"local","State":"stopped"}]'`);
  for (const [args, message] of [
    [['--image', 'xcode-28'], 'the config of this Mac has no image xcode-28; it has default'],
    [['--cpus', '4'], 'the image default is there already, as expo-build-vm-base-snapshot'],
    [['--frob'], 'there is no option --frob; `expo-worker base-image --help` and'],
    [['--publish', 'ghcr.io/acme/builder', '--from', 'y'], '--from: it says what an image is made from, and'],
    [['--from', 'xcode-28'], '--from: this Mac has no VM xcode-28'],
    [['--publish', 'ghcr.io'], '--publish: ghcr.io is not REGISTRY/NAME or REGISTRY/NAME:TAG'],
    [['--publish', 'ghcr.io/acme/builder:a b'], '--publish: ghcr.io/acme/builder:a b is not'],
  ] as const)
    expect(await run(...args)).toMatchObject({ exitCode: 64, stderr: expect.stringContaining(message) });
});

/** A Mac with an image, whose clone hangs if `hangs`, and whose script fails. */
function macWithImage(hangs: boolean) {
  const dir = temporaryDir();
  const path = (name: string) => join(dir.path, name);
  const vm = (name: string) => `{"Name":"${name}","Source":"local","State":"stopped"}`;
  const tart = `#!/bin/sh
case $1 in
  list) if [ -e '${path('cloned')}' ]; then echo '[${vm('mac')},${vm('mac-base-snapshot')},${vm('mac-publishing')}]'
        else echo '[${vm('mac')},${vm('mac-base-snapshot')}]'; fi ;;
  clone) touch '${path('cloned')}'; ${hangs ? 'exec sleep 600' : ''} ;;
  delete) rm '${path('cloned')}'; echo "$2" >>'${path('deleted')}' ;;
esac
`;
  writeFileSync(path('tart'), tart, { mode: 0o755 });
  writeFileSync(path('create-base-image.sh'), 'exit 1\n');
  const config = {
    ...{ vmName: 'mac', vmUser: 'builder', vmSshKey: path('key'), minFreeDiskGb: 1 },
    ...{ controllerUrl: 'http://localhost:3000', apiKey: 'tb_worker_x', tartPath: path('tart'), tartHome: dir.path },
  };
  writeFileSync(path('config.json'), JSON.stringify(config), { mode: 0o600 });
  const publish = ['base-image', '--config', path('config.json'), '--publish', 'ghcr.io/acme/builder'];
  return {
    publish: () =>
      execa(process.execPath, [EXPO_WORKER, ...publish], { reject: false, env: { TARTBEAT_VM_IMAGE: dir.path } }),
    isCloned: () => existsSync(path('cloned')),
    deleted: () => readFileSync(path('deleted'), 'utf8'),
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}

test('Ctrl-C during a publication ends it, and deletes its clones', async () => {
  using mac = macWithImage(true);
  const run = mac.publish();
  await until(mac.isCloned, 'the clone was begun');
  run.kill('SIGINT');
  expect(await run).toMatchObject({ exitCode: 130, stdout: 'Stopping …', stderr: '' });
  expect(mac.deleted()).toBe('mac-publishing\n');
});

test('a publication that has failed says what to repair, which is not the clone', async () => {
  using mac = macWithImage(false);
  expect(await mac.publish()).toMatchObject({
    exitCode: 1,
    stdout:
      'Nothing was published, and the clone was deleted. Repair the image itself (`tart run mac`, then ' +
      '`expo-worker base-image --image default --force`), then publish again.',
  });
  expect(mac.deleted()).toBe('mac-publishing\n');
});
