import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { missingPrerequisites } from '../../../local/demo/prerequisites.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

test('this machine has what the demo needs', () => {
  expect(missingPrerequisites()).toEqual([]);
});

test('each command that is missing is named with what to do', () => {
  using dir = temporaryDir();
  for (const name of ['bash', 'tar', 'ps', 'prlimit']) writeFileSync(join(dir.path, name), '', { mode: 0o755 });
  writeFileSync(join(dir.path, 'curl'), 'not executable', { mode: 0o644 });
  expect(missingPrerequisites({ PATH: dir.path }, 'linux')).toEqual([
    expect.stringMatching(/^curl is not on the PATH. Install/),
    expect.stringMatching(/^df is not on the PATH. Install/),
  ]);
});

test('another system is told so', () => {
  expect(missingPrerequisites(process.env, 'win32')[0]).toMatch(/runs win32\. Run the demo on Linux or macOS/);
});
