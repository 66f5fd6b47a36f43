/**
 * Runs a controller on this machine: real workerd, D1, R2 and Durable Objects, with all its state in one
 * folder. `npm run dev`, `npm run demo` and the end-to-end tests use it.
 *
 * Invariant: workerd and the program that starts it form one process group. The code that starts a controller
 * ends the whole group, because an orphaned workerd would keep firing alarms on the same files.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { Health } from '#contract';
import { migrate } from './database.ts';
import { freePort } from './free-port.ts';
import { PROJECT_ROOT } from './project-root.ts';
import type { ServeOptions } from './worker/serve.ts';
import { QUIET, WRANGLER } from './wrangler.ts';

const START_TIMEOUT_MS = 60_000;
const HEALTH_MS = 2_000;
const SWEEP_MS = 30_000;
/** How long a controller may take to end by itself. */
const STOP_MS = 5_000;
/** The `main` of wrangler.toml. */
const DEPLOYED = 'controller/index.ts';
const SERVE = path.join(import.meta.dirname, 'worker/serve.ts');

export interface ControllerOptions {
  /** The folder of everything that the controller stores. A second start on it continues from the first. */
  stateDir: string;
  /** Default: a free port. */
  port?: number;
  /** The address to listen at. */
  host?: string;
  /** The Worker to run, as a path in the repository. Default: the deployed one. */
  entry?: string | undefined;
  secrets?: Secrets;
  /** Further variables of the Worker. */
  vars?: Record<string, string> | undefined;
  /** True if the database in `stateDir` is up to date. */
  migrated?: boolean;
  /** Called with each line that the controller prints. */
  onLine?: ((line: string) => void) | undefined;
  /** True to use `wrangler dev`, which starts the Worker anew when a file of it changes, and takes longer. */
  reloads?: boolean;
  /** Added to the environment of workerd and of the program that starts it. */
  env?: Record<string, string>;
  /** Aborts the start. */
  signal?: AbortSignal | undefined;
}

export interface Secrets {
  ADMIN_KEY: string;
  TOKEN_KEYS: string;
  INPUTS_KEY: string;
}

export const randomSecrets = (): Secrets => ({
  ADMIN_KEY: `tb_admin_${randomBytes(32).toString('base64url')}`,
  TOKEN_KEYS: `k1:${randomBytes(32).toString('hex')}`,
  INPUTS_KEY: randomBytes(32).toString('hex'),
});

export const asEnvFile = (secrets: Secrets): string =>
  Object.entries(secrets)
    .map(([name, value]) => `${name}="${value}"\n`)
    .join('');

export class LocalController implements AsyncDisposable {
  readonly url: string;
  readonly secrets: Secrets;
  /** Resolves when the process has ended, for any reason. */
  readonly ended: Promise<void>;
  readonly #pid: number;

  constructor(url: string, secrets: Secrets, pid: number, ended: Promise<void>) {
    this.url = url;
    this.secrets = secrets;
    this.#pid = pid;
    this.ended = ended;
  }

  /** Runs the cron once, because it does not run by itself on a developer's machine. */
  async sweep(): Promise<void> {
    const response = await fetch(`${this.url}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`, {
      signal: AbortSignal.timeout(SWEEP_MS),
    });
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`the sweep answered ${response.status}`);
  }

  /** Sends `signal` to both workerd and the program that has started it. */
  signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.#pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  async stop(): Promise<void> {
    this.signal('SIGTERM');
    const stopped = await Promise.race([this.ended.then(() => true), sleep(STOP_MS, false, { ref: false })]);
    if (!stopped) this.signal('SIGKILL');
    await this.ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Applies the migrations and starts the controller; resolves when it answers. */
export async function startController(options: ControllerOptions): Promise<LocalController> {
  const { stateDir, host = '127.0.0.1', entry, secrets = randomSecrets(), vars = {}, onLine, env, signal } = options;
  const port = options.port ?? (await freePort());
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  if (!options.migrated) await migrate(stateDir, signal);
  signal?.throwIfAborted();

  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const url = `http://${reachable}:${port}`;
  const serve: ServeOptions = {
    ...{ entry: entry ?? DEPLOYED, host, port, stateDir: path.resolve(stateDir) },
    bindings: { PUBLIC_URL: url, ...vars, ...secrets },
  };
  const [program, args, input] = options.reloads
    ? await wranglerDev(serve, secrets)
    : [process.execPath, [SERVE], JSON.stringify(serve)];
  const child = execa(program, args, {
    cwd: PROJECT_ROOT,
    env: { ...QUIET, ...env },
    // The controller has a process group of its own. So Ctrl-C reaches only the program that started it,
    // which then stops the controller in order.
    detached: true,
    cleanup: false,
    input,
    all: true,
    buffer: false,
    reject: false,
    lines: true,
  });
  const printed: string[] = [];
  const reading = (async () => {
    for await (const line of child.iterable({ from: 'all' })) {
      if (onLine) onLine(line);
      else if (printed.push(line) > 50) printed.shift();
    }
  })().catch(() => {});
  const ended = child.then(async () => void (await reading));
  if (child.pid === undefined) throw new Error('the controller could not be started. Run `npm ci` first.');
  const controller = new LocalController(url, secrets, child.pid, ended);
  try {
    await untilHealthy(controller, signal);
  } catch (error) {
    await controller.stop();
    signal?.throwIfAborted();
    throw new Error(`the controller did not start: ${(error as Error).message}\n${printed.join('\n')}`);
  }
  return controller;
}

/** The arguments of `wrangler dev`, which is given the secrets in a file. */
async function wranglerDev(
  { entry, host, port, stateDir, bindings }: ServeOptions,
  secrets: Secrets,
): Promise<[program: string, args: string[], input: string]> {
  const envFile = path.join(stateDir, 'secrets.env');
  await writeFile(envFile, asEnvFile(secrets), { mode: 0o600 });
  const vars = Object.entries(bindings).filter(([name]) => !Object.hasOwn(secrets, name));
  return [
    WRANGLER,
    [
      ...['dev', entry, '-c', 'wrangler.toml', '--persist-to', stateDir, '--env-file', envFile],
      ...['--ip', host, '--port', String(port), '--inspector-port', '0', '--show-interactive-dev-session=false'],
      ...vars.flatMap(([name, value]) => ['--var', `${name}:${value}`]),
    ],
    '',
  ];
}

async function untilHealthy(controller: LocalController, signal?: AbortSignal): Promise<void> {
  const end = Date.now() + START_TIMEOUT_MS;
  let gone = false;
  void controller.ended.then(() => {
    gone = true;
  });
  while (Date.now() < end) {
    signal?.throwIfAborted();
    if (gone) throw new Error('its process ended at once');
    const healthy = await fetch(`${controller.url}/health`, { signal: AbortSignal.timeout(HEALTH_MS) })
      .then(async (response) => Health.safeParse(await response.json()).success)
      .catch(() => false);
    if (healthy) return;
    await sleep(50);
  }
  throw new Error(`it did not answer within ${START_TIMEOUT_MS / 1_000} s`);
}

/** Null if the port was free a moment ago. Otherwise a sentence that says why not and what to do. */
export async function whyNoPort(port: number, host: string): Promise<string | null> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ port, host }, resolve));
    return null;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      return `Port ${port} of ${host} is in use. Stop the program that listens there, or choose another --port.`;
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      return `This machine has no address ${host}. Give one of its own addresses as --host, or 0.0.0.0 for all.`;
    return `The controller cannot listen at port ${port} of ${host}: ${message}`;
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
