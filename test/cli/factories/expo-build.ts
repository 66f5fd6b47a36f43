/**
 * Runs `expo-build` without a terminal until it ends, in the process of the test. That takes a tenth of the
 * time of a program of its own, which started.ts starts.
 */
import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { Interrupts } from '../../../cli/interrupts.ts';
import { JsonLine } from '../../../cli/json-lines/json-lines.ts';
import { runCommand } from '../../../cli/run-command.ts';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';
import { until } from '../../worker-agent/factories/until.ts';

/** After this time a run is stopped as by Ctrl-C, so that other tests do not wait for it. */
const LIMIT_MS = 120_000;
/** How long a timer or a process may outlive the command that has begun it. */
const LEFT_MS = 5_000;

export const EXPO_BUILD = join(PROJECT_ROOT, 'cli/expo-build.ts');

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Run {
  cwd?: string;
  /** Added to the variables of this process, which has none of the command's own. */
  env?: NodeJS.ProcessEnv;
  /** Standard input. */
  input?: string | Buffer;
}

const OWN = /^(EXPO_BUILD_|GITHUB_|XDG_CONFIG_HOME$|CI$)/;

/** The command's environment, if the test names no more. */
export const cleanEnv = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !OWN.test(name)));

/**
 * Runs the command in this process, whose folder, variables and streams are the command's own until it ends.
 * So runs wait for each other. A test that needs the folder, the variables or the streams meanwhile, for
 * example to start programs, takes `expoBuildProcess`.
 *
 * Rejects as `expoBuildProcess` does, and if the run leaves something in the process.
 */
export async function expoBuild(args: readonly string[], run: Run = {}): Promise<Ended> {
  const ended = lastRun.then(() => runHere(args, run));
  lastRun = ended.catch(() => {});
  return withCheckedLines(args, await ended);
}

let lastRun: Promise<unknown> = Promise.resolve();

async function runHere(args: readonly string[], { cwd, env, input = '' }: Run): Promise<Ended> {
  const before = listening();
  using begun = new Begun();
  const exitCode = process.exitCode;
  const [stdin, stdout, stderr] = [new PassThrough(), new Collected(), new Collected()];
  stdin.end(input);
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  let code: number;
  {
    using stack = new DisposableStack();
    process.on('warning', onWarning);
    stack.defer(() => void process.off('warning', onWarning));
    stack.use(replaced({ stdin, stdout, stderr, argv: [process.execPath, EXPO_BUILD, ...args] }));
    stack.use(inEnvironment({ ...cleanEnv(), ...env }));
    const folder = process.cwd();
    stack.defer(() => process.chdir(folder));
    if (cwd !== undefined) process.chdir(cwd);
    const interrupts = stack.use(new Interrupts());
    const limit = setTimeout(() => interrupts.abort(), LIMIT_MS);
    stack.defer(() => clearTimeout(limit));
    code = await begun.by(() => runCommand(interrupts));
  }
  const left = () => [...listening().filter((one) => !before.includes(one)), ...begun.left()];
  await until(() => left().length === 0, 'the end of all that the run has begun', LEFT_MS).catch(() => {});
  const rests = [...left(), ...warnings.map(String), ...(process.exitCode === exitCode ? [] : ['an exit code'])];
  if (rests.length > 0) throw new Error(`\`expo-build ${args.join(' ')}\` leaves in its process: ${rests.join(', ')}`);
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

/** The listeners of this process, each numbered, such as `SIGINT 1`. */
function listening(): string[] {
  const names = process.eventNames().flatMap((name) => process.listeners(name as 'exit').map(() => String(name)));
  const counts: Record<string, number> = {};
  return names.map((name) => `${name} ${(counts[name] = (counts[name] ?? 0) + 1)}`);
}

/** The timers and processes that one run begins, and not those which the test begins meanwhile. */
export class Begun implements Disposable {
  readonly #run = new AsyncLocalStorage<Begun>();
  readonly #resources = new Map<number, [type: string, resource: { hasRef?: () => boolean }]>();
  readonly #hook = createHook({
    init: (id, type, _, resource) => {
      if ((type === 'Timeout' || type === 'PROCESSWRAP') && this.#run.getStore() === this)
        this.#resources.set(id, [type, resource]);
    },
    destroy: (id) => void this.#resources.delete(id),
  }).enable();

  by<T>(run: () => Promise<T>): Promise<T> {
    return this.#run.run(this, run);
  }

  /** The types of the resources that would keep a process of its own alive. */
  left(): string[] {
    return [...this.#resources.values()].filter(([, one]) => one.hasRef?.() !== false).map(([type]) => type);
  }

  [Symbol.dispose](): void {
    this.#hook.disable();
  }
}

/** Takes what is written, as a pipe without a terminal does. */
class Collected extends Writable {
  readonly #parts: Buffer[] = [];

  override _write(part: Buffer, _: BufferEncoding, done: () => void): void {
    this.#parts.push(part);
    done();
  }

  text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }
}

/** Until it is disposed of, these properties of `process` have other values. */
function replaced(values: Partial<Record<'stdin' | 'stdout' | 'stderr' | 'argv', unknown>>): Disposable {
  const before = Object.keys(values).map((name) => [name, Object.getOwnPropertyDescriptor(process, name)!] as const);
  for (const [name, value] of Object.entries(values))
    Object.defineProperty(process, name, { value, configurable: true, enumerable: true, writable: true });
  return {
    [Symbol.dispose]() {
      for (const [name, descriptor] of before) Object.defineProperty(process, name, descriptor);
    },
  };
}

/** Until it is disposed of, this process has these variables and no others, for Node's own code too. */
function inEnvironment(variables: NodeJS.ProcessEnv): Disposable {
  const before = { ...process.env };
  const become = (wanted: NodeJS.ProcessEnv) => {
    for (const name of Object.keys(process.env)) if (wanted[name] === undefined) delete process.env[name];
    for (const [name, value] of Object.entries(wanted))
      if (value !== undefined && process.env[name] !== value) process.env[name] = value;
  };
  become(variables);
  return { [Symbol.dispose]: () => become(before) };
}

export function withCheckedLines(args: readonly string[], ended: Ended): Ended {
  if (args.includes('--json')) jsonLinesOf(ended);
  return ended;
}

/** Each line of standard output. Fails if one is not of the schema, or if there is anything else. */
export const jsonLinesOf = ({ stdout }: Pick<Ended, 'stdout'> & Partial<Ended>): JsonLine[] => {
  const lines = stdout.split('\n');
  if (lines.pop() !== '') throw new Error(`standard output does not end with a line break: ${stdout}`);
  return lines.map((line) => JsonLine.parse(JSON.parse(line)));
};
