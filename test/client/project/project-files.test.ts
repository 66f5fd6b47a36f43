import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { pathIn, withFilesOver } from '../../../client/project/project-files.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { filesInFolder } from './factories/files-of.ts';

test('a folder shows its regular files alone, and a file that is laid over it wins', async () => {
  using dir = temporaryDir();
  mkdirSync(join(dir.path, 'apps/mobile'), { recursive: true });
  mkdirSync(join(dir.path, 'node_modules/left-pad'), { recursive: true });
  writeFileSync(join(dir.path, 'apps/mobile/eas.json'), '{}');
  writeFileSync(join(dir.path, 'node_modules/left-pad/index.js'), '');
  symlinkSync('/etc/passwd', join(dir.path, 'eas.json'));
  const files = await filesInFolder(dir.path);
  expect([...files.paths]).toEqual(['apps/mobile/eas.json']);
  expect(await files.read('eas.json')).toBeNull();

  const laid = withFilesOver(files, new Map([['.env', Buffer.from('A=1')]]));
  expect([...laid.paths].sort()).toEqual(['.env', 'apps/mobile/eas.json']);
  expect(`${await laid.read('.env')} ${await laid.read('apps/mobile/eas.json')}`).toBe('A=1 {}');
});

test.each([
  ['.', 'eas.json', 'eas.json'],
  ['apps/mobile', '../../package.json', 'package.json'],
  ['apps/mobile', '.', 'apps/mobile'],
  ['.', '..', null],
  ['apps', '../../etc/passwd', null],
  ['.', '/etc/passwd', null],
])('from %s, the path %s is %s', (folder, path, joined) => {
  expect(pathIn(folder, path)).toBe(joined);
});
