import { type SpawnOptionsWithStdioTuple, type StdioNull, type StdioPipe, spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { endProcessesBelow, FOLDER_MARK, processesBelow } from '../../../local/farm/leftovers.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

test('processes below a folder are found by their environment and by their command line, and ended with their children', async () => {
  using dir = temporaryDir();
  const options: SpawnOptionsWithStdioTuple<StdioNull, StdioPipe, StdioNull> = {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  };
  // The child itself says that it runs. Just after the fork it has the command line of its shell.
  const child = `sh -c 'echo up; exec sleep 600' & wait`;
  const marked = spawn('/bin/sh', ['-c', child], {
    ...options,
    env: { PATH: process.env.PATH, [FOLDER_MARK]: dir.path },
  });
  const named = spawn('/bin/sh', ['-c', `: ${dir.path}; ${child}`], { ...options, env: {} });
  const stranger = spawn('sleep', ['600'], { stdio: 'ignore', detached: true });
  const strangerEnded = once(stranger, 'exit');
  try {
    for (const { stdout } of [marked, named]) await once(stdout, 'data');
    const found = processesBelow(dir.path).map(({ pid }) => pid);
    expect(found).toEqual(expect.arrayContaining([marked.pid, named.pid]));
    expect(found).not.toContain(stranger.pid);
    expect(endProcessesBelow(dir.path)).toBeGreaterThanOrEqual(3);
    expect(processesBelow(dir.path)).toEqual([]);
    expect(stranger.exitCode).toBeNull();
  } finally {
    // Kills whole groups, because nothing of the unmarked shell's child names the folder.
    for (const child of [named, stranger])
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {}
    await strangerEnded;
  }
});
