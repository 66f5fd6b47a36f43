import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AgentLockedError, acquireAgentLock } from '../../../worker-agent/state/agent-lock.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const MODULE = new URL('../../../worker-agent/state/agent-lock.ts', import.meta.url).href;

/** Another process that holds the lock until it is killed. */
async function holder(dir: string) {
  const script = `import { acquireAgentLock } from '${MODULE}';
    globalThis.lock = acquireAgentLock(${JSON.stringify(dir)}); console.log('held'); setInterval(() => {}, 1000);`;
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
  return {
    pid: child.pid!,
    async kill() {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await this.kill();
    },
  };
}

const refusalOf = (dir: string): AgentLockedError => {
  try {
    acquireAgentLock(dir)[Symbol.dispose]();
  } catch (error) {
    if (error instanceof AgentLockedError) return error;
    throw error;
  }
  throw new Error('it was not refused');
};

test('a second agent is refused and told who holds the lock, until the first lets go', () => {
  using dir = temporaryDir();
  {
    using lock = acquireAgentLock(dir.path);
    expect(existsSync(lock.path)).toBe(true);
    expect(refusalOf(dir.path).holderPid).toBe(process.pid);
  }
  acquireAgentLock(dir.path)[Symbol.dispose]();
});

test('kill -9 frees it, SIGSTOP does not', async () => {
  using dir = temporaryDir();
  await using other = await holder(dir.path);
  expect(refusalOf(dir.path)).toMatchObject({
    holderPid: other.pid,
    message: expect.stringContaining(`pid ${other.pid}`),
  });
  process.kill(other.pid, 'SIGSTOP');
  expect(refusalOf(dir.path).holderPid).toBe(other.pid);
  await other.kill();
  using lock = await until(() => {
    try {
      return acquireAgentLock(dir.path);
    } catch {
      return null;
    }
  }, 'the lock is free');
  expect(lock.path).toBe(join(dir.path, 'agent.lock'));
});

test('a file in its place that is no lock is an error, not a free pass', () => {
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'agent.lock'), 'x'.repeat(4096));
  expect(() => acquireAgentLock(dir.path)).toThrow();
});

test('two folders are two locks', () => {
  using first = temporaryDir();
  using second = temporaryDir();
  using _one = acquireAgentLock(first.path);
  using _two = acquireAgentLock(second.path);
});
