import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { temporaryDir } from '../factories/temporary-dir.ts';

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
    [['--publish', 'ghcr.io'], '--publish: ghcr.io is not REGISTRY/NAME or REGISTRY/NAME:TAG'],
    [['--publish', 'ghcr.io/acme/builder:a b'], '--publish: ghcr.io/acme/builder:a b is not'],
  ] as const)
    expect(await run(...args)).toMatchObject({ exitCode: 64, stderr: expect.stringContaining(message) });
});
