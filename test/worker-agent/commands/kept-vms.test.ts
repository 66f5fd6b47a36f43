import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findKeptVm } from '../../../worker-agent/commands/kept-vms.ts';
import { saveConfig } from '../../../worker-agent/config.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

test.for([
  ['b1', undefined, 0, 'no VM of build b1 to look into: it is not kept. This Mac keeps none: keepVmMaxMs is 0 in its'],
  [
    'b1#2',
    undefined,
    60_000,
    'no VM of attempt 2 of build b1 to look into: it is not kept. `expo-worker status` lists',
  ],
  ['b1#2', 2, 60_000, 'no VM of attempt 2 of build b1'],
  ['b1#2', 3, 60_000, 'b1#2 and 3 name two attempts. Name one.'],
  ['../b1#2', undefined, 60_000, 'BUILD must be the id of a build'],
] as const)(
  'a kept VM is named as status shows it: %s %s, keepVmMaxMs %i',
  async ([build, attempt, keepVmMaxMs, said]) => {
    using dir = temporaryDir();
    const config = join(dir.path, 'config.json');
    const settings = {
      vmName: 'v',
      vmUser: 'u',
      vmSshKey: '/k',
      controllerUrl: 'http://c',
      apiKey: 'tb_worker_12345678',
    };
    saveConfig(config, { ...settings, keepVmMaxMs });
    await expect(findKeptVm({ config, build, attempt })).rejects.toThrow(said);
  },
);
