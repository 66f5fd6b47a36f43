/**
 * Runs vitest once, in a process group and with a temporary folder of its own.
 *
 * Invariant: when it settles, vitest and all processes of its tests have ended, and the folder is deleted.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { endProcessesBelow } from '../farm/leftovers.ts';
import { PROJECT_ROOT } from '../farm/project-root.ts';
import type { RunResult, TestResult } from './tally.ts';

const VITEST = join(PROJECT_ROOT, 'node_modules/vitest/vitest.mjs');
const REPORTER = join(PROJECT_ROOT, 'local/steady/reporter.ts');
const OUTPUT_MAX = 20_000;

interface SuiteRunOptions {
  /** For vitest: projects and files. */
  args: readonly string[];
  /** The folder must not exist yet. */
  folder: string;
  signal: AbortSignal;
}

/** `output` is the end of vitest's output, for a run that ended before its tests began. */
export async function runSuite({ args, folder, signal }: SuiteRunOptions): Promise<RunResult & { output: string }> {
  mkdirSync(folder, { mode: 0o700 });
  const startedAt = performance.now();
  const results: TestResult[] = [];
  let output = '';
  try {
    const child = spawn(process.execPath, [VITEST, 'run', ...args, '--reporter=default', `--reporter=${REPORTER}`], {
      cwd: PROJECT_ROOT,
      // A group of its own, so that Ctrl-C reaches only this program.
      detached: true,
      env: { ...process.env, TMPDIR: folder, NO_COLOR: '1', FORCE_COLOR: undefined },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk) => {
        output = `${output}${chunk}`.slice(-OUTPUT_MAX);
      });
    child.on('message', (message) => {
      if (typeof message === 'object') results.push(message as TestResult);
    });
    const ended = new Promise<number | null>((resolve, reject) => child.once('close', resolve).once('error', reject));
    const end = () => void process.kill(-child.pid!, 'SIGKILL');
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    const exitCode = await ended.finally(() => signal.removeEventListener('abort', end));
    return { results, exitCode, durationMs: performance.now() - startedAt, output };
  } finally {
    endProcessesBelow(folder);
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  }
}
