import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { list } from 'tar';
import { expect, test } from 'vitest';
import { packSource, SourceError } from '../../../client/project/archive.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

function project() {
  const dir = temporaryDir();
  const write = (path: string, text: string) => {
    mkdirSync(join(dir.path, 'project', path, '..'), { recursive: true });
    writeFileSync(join(dir.path, 'project', path), text);
  };
  write('app.js', 'app');
  write('src/.hidden', 'kept');
  write('src/node_modules_not', 'kept');
  write('node_modules/left/pad.js', 'left out');
  write('packages/one/node_modules/left/pad.js', 'left out');
  write('.git/HEAD', 'left out');
  return {
    path: join(dir.path, 'project'),
    archive: join(dir.path, 'a.tar.gz'),
    write,
    [Symbol.dispose]: dir[Symbol.dispose],
  };
}

async function filesOf(archive: string): Promise<string[]> {
  const paths: string[] = [];
  await list({ file: archive, onReadEntry: ({ path }) => paths.push(path) });
  return paths.filter((path) => !path.endsWith('/')).sort();
}

test('an archive holds everything but node_modules and .git, at any depth', async () => {
  using it = project();
  symlinkSync('app.js', join(it.path, 'link.js'));
  await packSource(it.path, it.archive);
  expect(await filesOf(it.archive)).toEqual(['./app.js', './link.js', './src/.hidden', './src/node_modules_not']);
});

test('the same files make the same archive, other files another', async () => {
  using it = project();
  const first = await packSource(it.path, it.archive);
  const again = await packSource(it.path, it.archive);
  expect(again.sha256).toBe(first.sha256);
  it.write('app.js', 'changed');
  expect((await packSource(it.path, it.archive)).sha256).not.toBe(first.sha256);
});

test('what is no folder is refused by name', async () => {
  using it = project();
  await expect(packSource(join(it.path, 'app.js'), it.archive)).rejects.toThrow(SourceError);
  await expect(packSource(join(it.path, 'nowhere'), it.archive)).rejects.toThrow('nowhere is not a folder');
});
