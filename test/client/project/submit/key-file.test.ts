import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { readKeyFile } from '../../../../client/project/submit/key-file.ts';

let folder: string;
const root = () => join(folder, 'project');
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'key-file-'));
  mkdirSync(join(root(), 'app/keys'), { recursive: true });
  mkdirSync(join(folder, 'outside'));
  writeFileSync(join(folder, 'outside/id'), 'a private key of the person');
  writeFileSync(join(folder, 'project-2'), 'beside it');
  writeFileSync(join(root(), 'app/keys/key.p8'), 'the key');
  writeFileSync(join(root(), 'shared.p8'), 'the shared key');
  writeFileSync(join(root(), 'large.p8'), 'x'.repeat(20_000));
  writeFileSync(join(root(), 'bytes.p8'), Buffer.from([0xff, 0xfe, 0x00]));
  symlinkSync('../../outside/id', join(root(), 'app/link.p8'));
  symlinkSync(join(folder, 'outside'), join(root(), 'app/folder'));
  symlinkSync('link.p8', join(root(), 'app/link-of-link.p8'));
  symlinkSync('keys/key.p8', join(root(), 'app/inner.p8'));
  execFileSync('mkfifo', [join(root(), 'pipe.p8')]);
});

test('a key inside the project is read, also by a link and from above the app', async () => {
  for (const [path, content] of [
    ['keys/key.p8', 'the key'],
    ['./keys/../keys/key.p8', 'the key'],
    ['inner.p8', 'the key'],
    ['../shared.p8', 'the shared key'],
    [join(root(), 'shared.p8'), 'the shared key'],
  ] as const)
    expect(readKeyFile(root(), 'app', path)).toMatchObject({ ok: true, value: content });
});

test('no path and no link leads out of the project, and nobody learns what is there', async () => {
  for (const path of [
    ...[
      '../../outside/id',
      'link.p8',
      'folder/id',
      'link-of-link.p8',
      '../../outside/none',
      '../../project-2',
      '/etc/passwd',
    ],
    ...['/nowhere', '../..', 'a\0b', '../../project/../outside/id', join(folder, 'outside/id')],
  ]) {
    const read = readKeyFile(root(), 'app', path);
    expect([path, read.ok ? read.value : read.problem]).toEqual([
      path,
      expect.stringMatching(/lies outside of the project/),
    ]);
  }
});

test('the repository and its packages are not read, also by a link or in other case', () => {
  mkdirSync(join(root(), '.git'));
  writeFileSync(join(root(), '.git/config'), 'a token');
  symlinkSync('../.git', join(root(), 'app/repository'));
  for (const path of ['../.git/config', 'repository/config', '../.GIT/config', '../node_modules/a/key.p8'])
    expect(readKeyFile(root(), 'app', path)).toMatchObject({
      problem: expect.stringMatching(/in node_modules or \.git/),
    });
});

test('what is no key is refused by name, and a pipe keeps nobody waiting', async () => {
  for (const [path, why] of [
    ['keys/none.p8', 'does not exist'],
    ['keys', 'is no file of at most 16 KiB'],
    ['../large.p8', 'is no file of at most 16 KiB'],
    ['../pipe.p8', 'is no file of at most 16 KiB'],
    ['../bytes.p8', 'is not text'],
  ] as const)
    expect(readKeyFile(root(), 'app', path)).toMatchObject({ ok: false, problem: expect.stringContaining(why) });
});
