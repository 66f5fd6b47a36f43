import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { processesBelow } from '../../../local/farm/leftovers.ts';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { until } from '../../worker-agent/factories/until.ts';

const PATIENCE_MS = 240_000;

/** The real script. `farmDir` is where it says that its VMs lie. */
function startDemo(...args: string[]) {
  const env = { ...process.env, NO_COLOR: '1' };
  const options = { env, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] };
  const child = spawn(process.execPath, [join(PROJECT_ROOT, 'local/demo.ts'), ...args], options);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const ended = once(child, 'close').then(([exitCode]) => exitCode as number | null);
  return {
    ended,
    said: () => output,
    interrupt: () => child.kill('SIGINT'),
    farmDir: () => /base image +(\S+)\/mac-1\/tart /.exec(output)?.[1],
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function expectNothingLeft(farmDir: string | undefined): void {
  expect(farmDir).toMatch(/tartbeat-farm-/);
  expect(processesBelow(farmDir!)).toEqual([]);
  expect(existsSync(farmDir!)).toBe(false);
}

test('the demo shows a build from submission to artifact, and ends with 0 only for the right bytes', async () => {
  await using demo = startDemo();
  expect(await demo.ended, demo.said()).toBe(0);
  const shown = demo.said();
  for (const words of [
    /submitted +b_\w+: \.\/build\.sh/,
    /step +✓ ssh/,
    /check +✓ disk_space: .*GB free/,
    /heartbeat +VM, \d+ %/,
    /heartbeat +agent, building/,
    /log +│ \[4\/4\] Writing the manifest/,
    /verdict +✓ succeeded/,
    /artifact +✓ dist\/app\.bundle, \d+ bytes, sha256 [0-9a-f]{64}/,
    /verified +✓ every byte is right/,
    /worker +✓ idle, no VM left/,
  ])
    expect(shown).toMatch(words);
  expectNothingLeft(demo.farmDir());
});

test('Ctrl-C in mid-build leaves no process, no VM and no folder', async () => {
  using project = temporaryDir();
  await using demo = startDemo('--project', project.path, '--command', 'echo it builds; sleep 600', '--artifact', '*');
  await until(() => demo.said().includes('│ it builds') || demo.said().includes('verdict'), 'it builds', PATIENCE_MS);
  demo.interrupt();
  expect(await demo.ended, demo.said()).toBe(130);
  expectNothingLeft(demo.farmDir());
});
