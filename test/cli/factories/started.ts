/** Runs `expo-build` as a program: until it ends, or while the test goes on. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { until } from '../../worker-agent/factories/until.ts';
import { cleanEnv, type Ended, EXPO_BUILD, jsonLinesOf, type Run, withCheckedLines } from './expo-build.ts';

const PATIENCE_MS = 40_000;

/**
 * Runs the program, whose entry is cli/expo-build.ts. Under `--json`, rejects if standard output has anything
 * that is not of the schema.
 */
export async function expoBuildProcess(args: readonly string[], { cwd, env, input = '' }: Run = {}): Promise<Ended> {
  const ended = await new Promise<Ended>((resolve) => {
    const child = execFile(
      process.execPath,
      [EXPO_BUILD, ...args],
      { cwd, env: { ...cleanEnv(), ...env } },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
    child.stdin?.on('error', () => {}); // it may end before it has read anything
    child.stdin?.end(input);
  });
  return withCheckedLines(args, ended);
}

/** Starts it without a terminal. Under `--json`, `ended` rejects if a line breaks the schema. */
export function start(args: readonly string[], { cwd, env }: { cwd?: string; env: NodeJS.ProcessEnv }) {
  const child = spawn(process.execPath, [EXPO_BUILD, ...args], {
    ...{ cwd, env: { ...cleanEnv(), ...env } },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const it = watched(child, PATIENCE_MS);
  const ended = it.ended.then((code) => {
    // A process that the test has killed may have stopped within a line.
    if (args.includes('--json') && code !== null) jsonLinesOf({ stdout: it.stdout() });
    return code;
  });
  return { ...it, ended };
}

/** Starts it on a terminal of this size, which script(1) makes. */
export function startOnTerminal(
  args: readonly string[],
  { cwd, env, columns = 80, rows = 24 }: { cwd?: string; env: NodeJS.ProcessEnv; columns?: number; rows?: number },
) {
  const command = [process.execPath, EXPO_BUILD, ...args].map((word) => `'${word}'`).join(' ');
  const text = `tty; stty rows ${rows} cols ${columns}; exec ${command}`;
  const child = spawn('script', ['-qefc', text, '/dev/null'], {
    ...{ cwd, env: { ...cleanEnv(), TERM: 'xterm-256color', ...env } },
    stdio: 'pipe',
  });
  const it = watched(child, PATIENCE_MS);
  return {
    ...it,
    type: (keys: string) => void child.stdin.write(keys),
    /** The output of the command itself. The first line is the name of the terminal. */
    screen: () => it.stdout().slice(it.stdout().indexOf('\n') + 1),
    resize(to: number) {
      const tty = /^\/dev\/\S+/.exec(it.stdout())![0];
      execFileSync('stty', [process.platform === 'darwin' ? '-f' : '-F', tty, 'cols', String(to)]);
    },
  };
}

function watched(child: ReturnType<typeof spawn>, patienceMs: number) {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (part) => (stdout += part));
  child.stderr?.setEncoding('utf8').on('data', (part) => (stderr += part));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const shows = async (what: string | RegExp) => {
    const all = () => `${stdout}${stderr}`;
    const found = () => (typeof what === 'string' ? all().includes(what) : what.test(all()));
    await until(found, String(what), patienceMs).catch((error: Error) => {
      throw new Error(`${error.message}\n${JSON.stringify(all())}`);
    });
  };
  return {
    shows,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    signal: (name: NodeJS.Signals) => void child.kill(name),
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}
