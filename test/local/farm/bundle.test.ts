import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';
import { bundleOf, keptFileOf } from '../../../local/farm/worker/bundle.ts';

test('a kept bundle is used until a file of it changes', async () => {
  const cache = join(PROJECT_ROOT, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(join(cache, 'bundle-test-'));
  try {
    const entry = join(dir, 'worker.ts');
    const write = (word: string) => writeFileSync(join(dir, 'word.ts'), `export const word: string = '${word}';\n`);
    writeFileSync(entry, `import { word } from './word.ts';\nexport default { fetch: () => new Response(word) };\n`);
    write('first');
    expect(await bundleOf(entry)).toContain('"first"');
    write('second');
    const second = await bundleOf(entry);
    expect(second).toContain('"second"');
    expect(await bundleOf(entry)).toBe(second);
    writeFileSync(entry, 'export default {;\n');
    await expect(bundleOf(entry)).rejects.toThrow('worker.ts:1:16');
  } finally {
    rmSync(dir, { recursive: true, force: true });
    rmSync(keptFileOf(relative(PROJECT_ROOT, join(dir, 'worker.ts'))), { force: true });
  }
});
