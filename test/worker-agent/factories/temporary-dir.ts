import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Makes a folder that is removed at the end of the test. */
export function temporaryDir(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'tartbeat-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) };
}
