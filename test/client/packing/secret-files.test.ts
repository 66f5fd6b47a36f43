import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SECRET_FILE_MAX_BYTES } from '#contract';
import { listSource } from '../../../client/packing/list-source.ts';
import { findSecretFiles, type SecretFile } from '../../../client/packing/secret-files.ts';
import { project, Tree } from './trees.ts';

const { signal } = new AbortController();

const namesOf = (files: readonly SecretFile[]) => Object.fromEntries(files.map(({ path, namedBy }) => [path, namedBy]));

test('what is typed, remembered, or named by credentials.json is sent with its path, and nothing else', async () => {
  using it = project();
  it.tree
    .write({
      '.gitignore': '.env*\n*.p12\n*.mobileprovision\ncredentials.json\nsigning/\nnode_modules\nbuild\n*.keystore\n',
    })
    .write({ 'apps/one/.env.local': 'A=1', 'apps/one/.env.test': '', '.env': '', 'signing/AuthKey.p8': '', 'a.js': '' })
    .write({ 'apps/one/dist.p12': 'p12', 'apps/one/app.mobileprovision': '', 'apps/one/my.keystore': '' })
    .write({ 'node_modules/a/b.p12': '', 'build/credentials.json': '', 'google-services.json': '{}' })
    .write({
      'apps/one/expo-build.json':
        '{ secretFiles: [".env.local", "../../signing/AuthKey.p8", "not-here.env"], // remembered\n}',
      'apps/one/credentials.json': JSON.stringify({
        ios: {
          App: {
            provisioningProfilePath: 'app.mobileprovision',
            distributionCertificate: { path: './dist.p12', password: 'p' },
          },
        },
        android: { keystore: { keystorePath: 'gone.jks', keystorePassword: 'my.keystore', keyAlias: 'a' } },
      }),
    })
    .committed();
  const outside = new Tree(join(it.dir, 'outside')).write({ 'key.json': '' });
  const source = await listSource({ appDir: join(it.path, 'apps/one'), signal });
  const found = await findSecretFiles(source, ['.env.test', '../../../outside/key.json'], join(it.path, 'apps/one'));
  expect(namesOf(found.sent)).toEqual({
    'apps/one/.env.test': 'flag',
    'key.json': 'flag',
    'apps/one/.env.local': 'expo-build.json',
    'signing/AuthKey.p8': 'expo-build.json',
    'apps/one/credentials.json': 'credentials.json',
    'apps/one/app.mobileprovision': 'credentials.json',
    'apps/one/dist.p12': 'credentials.json',
  });
  expect(found.sent.find(({ path }) => path === 'key.json')?.file).toBe(join(outside.path, 'key.json'));
  expect(found.missing).toEqual([
    { path: 'apps/one/not-here.env', namedBy: 'expo-build.json' },
    { path: 'apps/one/gone.jks', namedBy: 'credentials.json' },
  ]);
  // google-services.json is tracked, so it is in the archive.
  expect(found.notSent).toEqual(['.env']);
});

test('two files for one place are refused, and one that takes the place of another or lies open is shown', async () => {
  using it = project();
  it.tree.write({ 'a.js': '', 'env.txt': '' });
  new Tree(join(it.dir, 'one')).write({ key: '', 'a.js': '' });
  new Tree(join(it.dir, 'two')).write({ key: '' });
  const source = await listSource({ appDir: it.path, signal });
  await expect(findSecretFiles(source, ['one/key', 'two/key'], it.dir)).rejects.toThrow(
    'are two secret files, and both would lie at `key` in the VM. Rename one.',
  );
  const typed = ['one/key', 'one/key', 'one/a.js', 'project/env.txt'];
  const { sent, warnings } = await findSecretFiles(source, typed, it.dir);
  expect(sent.map(({ path }) => path)).toEqual(['a.js', 'env.txt', 'key']);
  expect(warnings).toMatchObject([
    { code: 'secret_file_over_another', path: 'a.js' },
    { code: 'secret_in_archive', path: 'env.txt' },
  ]);
});

test('what cannot be a secret file is refused with a sentence', async () => {
  using it = project();
  it.tree.write({ 'a.js': '', 'large.p12': 'x'.repeat(SECRET_FILE_MAX_BYTES + 1), 'folder/a': '' });
  const source = await listSource({ appDir: it.path, signal });
  const typed = (path: string) => findSecretFiles(source, [path], it.path);
  await expect(typed('nowhere')).rejects.toThrow('--secret-file nowhere: there is no such file.');
  await expect(typed('folder')).rejects.toThrow('--secret-file folder is not a file.');
  await expect(typed('large.p12')).rejects.toThrow('--secret-file large.p12 has 262145 bytes, but a secret file');
  it.tree.write({ 'expo-build.json': '{"secretFiles":".env"}' });
  await expect(typed('a.js')).rejects.toThrow('`secretFiles` in expo-build.json must be a list of paths');
  it.tree.write({ 'expo-build.json': '{"secretFile":[".env"]}' });
  await expect(typed('a.js')).rejects.toThrow('expo-build.json has no field `secretFile`. Correct its name');
  it.tree.write({ 'expo-build.json': '{' });
  await expect(typed('a.js')).rejects.toThrow('expo-build.json is not valid JSON');
});

test('a project names no file of a repository or a package, also not by a link or in other case', async () => {
  using it = project();
  it.tree
    .write({ 'a.js': '', '.gitignore': 'node_modules\n.GIT\n', 'node_modules/a/key.p8': 'x', '.GIT/config': 'x' })
    .write({ 'app/b.js': '', 'lib/c.js': '' })
    .link('d', '.git')
    .link('e', '.git/config')
    .link('f', 'node_modules/a/key.p8')
    .committed();
  const source = await listSource({ appDir: join(it.path, 'app'), root: it.path, signal });
  const names = ['.git/config', '.GIT/config', '.Git/not-there', 'lib/../.git/HEAD', 'd/config', 'e', 'f', '.git'];
  for (const name of [...names, 'node_modules/a/key.p8', 'Node_Modules/gone']) {
    const path = `../${name}`;
    const android = { keystore: { keystorePath: path } };
    const App = { provisioningProfilePath: 'b.js', distributionCertificate: { path } };
    for (const files of [
      { 'app/expo-build.json': JSON.stringify({ secretFiles: [path] }), 'app/credentials.json': '{}' },
      { 'app/expo-build.json': '{}', 'app/credentials.json': JSON.stringify({ android }) },
      { 'app/expo-build.json': '{}', 'app/credentials.json': JSON.stringify({ ios: { App } }) },
    ]) {
      it.tree.write(files);
      await expect(findSecretFiles(source, [], it.path)).rejects.toThrow(
        /names `\.\.\/.*`, which lies in node_modules or \.git\. Only `--secret-file`, typed/,
      );
    }
  }
  it.tree.remove('app/credentials.json').link('app/credentials.json', '../d/config');
  it.tree.write({ '.git/config': '{}' });
  await expect(findSecretFiles(source, [], it.path)).rejects.toThrow('which lies in node_modules or .git');
  it.tree.remove('app/credentials.json');
  const typed = await findSecretFiles(source, ['node_modules/a/key.p8'], it.path);
  expect(namesOf(typed.sent)).toEqual({ 'node_modules/a/key.p8': 'flag' });
  const all = await listSource({ appDir: it.path, include: ['.G*/**', '.g*/**'], signal }).catch(
    (error: Error) => error,
  );
  expect(all).toMatchObject({ message: expect.stringContaining('never go along') });
});
