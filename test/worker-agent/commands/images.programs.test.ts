import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { saveConfig } from '../../../worker-agent/config.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const EXPO_WORKER = new URL('../../../worker-agent/expo-worker.ts', import.meta.url).pathname;
const SETTINGS = { vmUser: 'u', vmSshKey: '/k', controllerUrl: 'http://127.0.0.1:9', apiKey: 'tb_worker_12345678' };
const XCODES = ['xcode-26', 'xcode-27'].map((name) => ({ name, vmName: `${name}-vm`, platforms: ['ios' as const] }));

/** A Mac on which only the VM of xcode-26 is there. */
async function aMac(images = XCODES) {
  const dir = temporaryDir();
  const tart = scriptedTart({
    list: `echo '[{"Name":"xcode-26-vm-base-snapshot","Source":"local","State":"stopped"}]'`,
  });
  const config = join(dir.path, 'config.json');
  saveConfig(config, { ...SETTINGS, images, tartPath: tart.tartPath });
  return {
    config,
    dir: dir.path,
    run: (...words: string[]) =>
      execa(process.execPath, [EXPO_WORKER, ...words, '--config', config], { reject: false }),
    [Symbol.dispose]() {
      tart[Symbol.dispose]();
      dir[Symbol.dispose]();
    },
  };
}

test('images and status say which VM is not there, and how it is made', async () => {
  using mac = await aMac();
  const lines = `image       xcode-26 (ios): xcode-26-vm-base-snapshot
image       xcode-27 (ios): xcode-27-vm-base-snapshot – not there; \`expo-worker base-image --image xcode-27 --from SOURCE\` makes it`;
  expect(await mac.run('images')).toMatchObject({ exitCode: 0, stdout: lines });
  expect((await mac.run('status')).stdout).toContain(lines);
});

test('a command names its image if there are several, and a wrong name is refused by all alike', async () => {
  using mac = await aMac();
  expect(await mac.run('images', 'back')).toMatchObject({
    exitCode: 64,
    stderr: 'expo-worker: Name the image: xcode-26 or xcode-27.',
  });
  for (const words of [
    ['images', 'promote', 'xcode-28'],
    ['doctor', '--image', 'xcode-28'],
    ['base-image', '--image', 'xcode-28'],
  ])
    expect(await mac.run(...words)).toMatchObject({
      exitCode: 64,
      stderr: 'expo-worker: the config of this Mac has no image xcode-28; it has xcode-26, xcode-27',
    });
  using single = await aMac(XCODES.slice(0, 1));
  expect((await single.run('images', 'back')).stderr).toContain(
    'The image xcode-26 has no snapshot before its present',
  );
});

test('doctor says why it has told the controller nothing', async () => {
  using mac = await aMac();
  expect((await mac.run('doctor', '--no-vm', '--image', 'xcode-26')).stdout).toMatch(
    /\nThe controller was not told, because this was not the whole examination\. Run `expo-worker doctor` to end a quarantine\.$/,
  );
  writeFileSync(mac.config, '{}');
  expect((await mac.run('doctor')).stdout).toMatch(
    /\nThe controller was not told, because there is no usable config\.$/,
  );
});
