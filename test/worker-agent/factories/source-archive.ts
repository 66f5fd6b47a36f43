/** Makes a gzipped tar archive of small files. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { temporaryDir } from './temporary-dir.ts';

export async function sourceArchive(files: Record<string, string>): Promise<Buffer> {
  using dir = temporaryDir();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir.path, name)), { recursive: true });
    writeFileSync(join(dir.path, name), text);
  }
  const { stdout } = await execa('tar', ['-czf', '-', '-C', dir.path, '.'], { encoding: 'buffer' });
  return Buffer.from(stdout);
}
