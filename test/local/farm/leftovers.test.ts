import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { endProcessesBelow, FOLDER_MARK, processesBelow } from '../../../local/farm/leftovers.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { until } from '../../worker-agent/factories/until.ts';

test('processes below a folder are found by their environment and by their command line, and ended with their children', async () => {
  using dir = temporaryDir();
  const options = { stdio: 'ignore', detached: true } as const;
  const marked = spawn('/bin/sh', ['-c', 'sleep 600 & wait'], {
    ...options,
    env: { PATH: process.env.PATH, [FOLDER_MARK]: dir.path },
  });
  const named = spawn('/bin/sh', ['-c', `: ${dir.path}; sleep 600 & wait`], { ...options, env: {} });
  const stranger = spawn('sleep', ['600'], options);
  const strangerEnded = once(stranger, 'exit');
  try {
    await until(() => processesBelow(dir.path).length >= 3, 'two shells and a child are found');
    const found = processesBelow(dir.path).map(({ pid }) => pid);
    expect(found).toEqual(expect.arrayContaining([marked.pid, named.pid]));
    expect(found).not.toContain(stranger.pid);
    expect(endProcessesBelow(dir.path)).toBeGreaterThanOrEqual(3);
    expect(processesBelow(dir.path)).toEqual([]);
    expect(stranger.exitCode).toBeNull();
  } finally {
    // The child of the unmarked shell has nothing that names the folder: its group has.
    for (const child of [named, stranger])
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {}
    await strangerEnded;
  }
});
