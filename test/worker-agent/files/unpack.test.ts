import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { unpackTo } from '../../../worker-agent/files/unpack.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

/** The archive that tar makes of files in a folder, in pieces of any size. */
async function* archiveOf(folder: string, paths: readonly string[], pieceBytes = 1_000): AsyncGenerator<Buffer> {
  const { stdout } = await execa('tar', ['-cf', '-', '-C', folder, ...paths], { encoding: 'buffer' });
  for (let at = 0; at < stdout.length; at += pieceBytes) yield Buffer.from(stdout.subarray(at, at + pieceBytes));
}
const wanted = (...paths: string[]) => paths.map((path) => ({ path, sizeBytes: 1 }));

test('a file that has two names is whole under both', async () => {
  using dir = temporaryDir();
  const [folder, target] = [join(dir.path, 'vm'), join(dir.path, 'host')];
  for (const made of [folder, target]) mkdirSync(made);
  const content = 'x'.repeat(100_000);
  writeFileSync(join(folder, 'one'), content);
  linkSync(join(folder, 'one'), join(folder, 'two'));
  const artifacts = await unpackTo(target, wanted('two', 'one'), archiveOf(folder, ['./one', './two']));
  const sha256 = createHash('sha256').update(content).digest('hex');
  expect(artifacts).toMatchObject([
    { name: 'two', sizeBytes: 100_000, sha256 },
    { name: 'one', sizeBytes: 100_000, sha256 },
  ]);
  // Each lies under the number of its place in the list, which finds it when it must be uploaded again.
  for (const [index, { path }] of artifacts.entries()) {
    expect(path).toBe(join(target, String(index)));
    expect(readFileSync(path, 'utf8')).toBe(content);
  }
});

test('a host that cannot write ends the collection, and does not hold it for ever', async () => {
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'large'), Buffer.alloc(5_000_000, 'x'));
  const nowhere = join(dir.path, 'is-not-there');
  await expect(unpackTo(nowhere, wanted('large'), archiveOf(dir.path, ['./large'], 65_536))).rejects.toThrow('ENOENT');
});

test('an archive that is cut short is an error, and what is not in it is not listed', async () => {
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'a'), 'x'.repeat(10_000));
  async function* cut() {
    for await (const piece of archiveOf(dir.path, ['./a'])) {
      yield piece;
      return;
    }
  }
  await expect(unpackTo(dir.path, wanted('a'), cut())).rejects.toThrow('TAR_BAD_ARCHIVE');
  expect(await unpackTo(dir.path, wanted('b'), archiveOf(dir.path, ['./a']))).toEqual([]);
});
