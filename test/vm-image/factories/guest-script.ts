import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const SHELLS = ['bash', 'dash'] as const;
export type Shell = (typeof SHELLS)[number];
/**
 * macOS runs the scripts with bash. Tests that start thousands of processes run under dash, which takes a
 * third of the time for them. With TEST_SHELLS=all they run under bash too.
 */
export const isTestedInDetail = (shell: Shell) => shell === 'dash' || process.env.TEST_SHELLS === 'all';

const inRepository = (path: string) => join(import.meta.dirname, '../../..', path);
export const MONITOR = inRepository('vm-image/vm-monitor.sh');
export const SEND_HEARTBEAT = inRepository('vm-image/send_heartbeat');
export const PLAIN_MONITOR = inRepository('test/fixtures/plain-monitor.sh');

/** A folder that the scripts use as `$HOME/.tartbeat/BUILD-ATTEMPT`. */
export function stateFolder(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'tartbeat-state-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const environment = (env: NodeJS.Dict<string>) => ({ PATH: process.env.PATH, HOME: '/nonexistent', ...env });

/** Runs a script to its end. */
export async function run(shell: Shell, script: string, args: string[], env: NodeJS.Dict<string>) {
  const child = execFile(shell, [script, ...args], { env: environment(env), timeout: 30_000 });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => (stdout += chunk));
  child.stderr?.on('data', (chunk) => (stderr += chunk));
  child.stdin?.end();
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { status, stdout, stderr };
}

export interface RunningScript extends AsyncDisposable {
  pid: number;
  /** Lines of standard output and standard error so far. */
  lines: () => string[];
  kill: (signal: NodeJS.Signals) => void;
  /** Closes this side of its standard streams, as a lost SSH session does. */
  hangUp: () => void;
  /** The exit code, or the name of the signal that ended it. */
  ended: Promise<number | NodeJS.Signals | null>;
  /** Command lines of the script and of the processes that it has started, as far as they still live. */
  family: () => string[];
  /** Process ids of those that run this program. */
  children: (program: string) => number[];
}

/** Starts a script as leader of its own process group, which is killed at the end of the test. */
export function start(
  shell: Shell,
  script: string,
  args: string[],
  env: NodeJS.Dict<string>,
  input = '',
): RunningScript {
  const child = spawn(shell, [script, ...args], { env: environment(env), detached: true });
  const pid = child.pid!;
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  child.stdin.on('error', () => undefined);
  child.stdin.write(input);
  // All of its output is here only at `close`.
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.on('close', (code, signal) => resolve(code ?? signal));
  });
  const exited = once(child, 'exit');
  const processes = (columns: string) =>
    execFileSync('ps', ['-A', '-ww', '-o', `pgid=,stat=,${columns}`], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.trimStart().startsWith(`${pid} `) && !/^\s*\d+ Z/.test(line));
  const family = () => processes('args=');
  const children = (program: string) =>
    processes('pid=,comm=')
      .map((line) => line.trim().split(/ +/))
      .filter((words) => words[3] === program)
      .map((words) => Number(words[2]));
  return {
    pid,
    lines: () => output.split('\n').filter(Boolean),
    kill: (signal) => process.kill(pid, signal),
    hangUp: () => {
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
    },
    ended,
    family,
    children,
    async [Symbol.asyncDispose]() {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // The whole group has ended.
      }
      await exited;
    },
  };
}
