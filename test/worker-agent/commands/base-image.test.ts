import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { temporaryDir } from '../factories/temporary-dir.ts';

const EXPO_WORKER = new URL('../../../worker-agent/expo-worker.ts', import.meta.url).pathname;

test('base-image runs create-base-image.sh with what the config says, and ends as it does', async () => {
  using dir = temporaryDir();
  const path = (name: string) => join(dir.path, name);
  // What the script asks first of all: which VMs there are.
  writeFileSync(path('tart'), `#!/bin/sh\necho "$TART_HOME: $*" >>'${path('calls')}'\nexit 3\n`, { mode: 0o755 });
  const config = {
    ...{ vmName: 'expo-build-vm', vmUser: 'builder', vmSshKey: path('key'), vmSshPort: 2222 },
    ...{ controllerUrl: 'http://localhost:3000', apiKey: 'tb_worker_x', tartPath: path('tart'), tartHome: path('vms') },
  };
  writeFileSync(path('config.json'), JSON.stringify(config), { mode: 0o600 });
  const run = (...args: string[]) =>
    execa(process.execPath, [EXPO_WORKER, 'base-image', '--config', path('config.json'), ...args], { reject: false });

  expect(await run()).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(`there is no key ${path('key')}`) });
  for (const name of ['key', 'key.pub']) writeFileSync(path(name), 'x');
  const { exitCode, stderr } = await run('--from', 'some-vm');
  expect([exitCode, stderr]).toEqual([1, expect.stringContaining(`'${path('tart')} list' failed`)]);
  expect(readFileSync(path('calls'), 'utf8')).toBe(`${path('vms')}: list --source local --quiet\n`);
  // Its own view of wrong options; the config's own were taken before them.
  expect(await run('--force', '--cpus', 'four')).toMatchObject({
    exitCode: 64,
    stderr: expect.stringContaining("--cpus must be a whole number, not 'four'"),
  });
});
