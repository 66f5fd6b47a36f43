/**
 * Runs `npm run dev`: the controller on this machine, with a build to send heartbeats to by hand
 * (dev/fixture.ts). The build is reset before each start and whenever it has ended.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, parseEnv } from 'node:util';
import { BuildDetail } from '#contract';
import { FIXTURE, FIXTURE_PATH } from './dev/fixture.ts';
import {
  asEnvFile,
  type LocalController,
  randomSecrets,
  type Secrets,
  startController,
  whyNoPort,
} from './farm/controller.ts';
import { PROJECT_ROOT } from './farm/project-root.ts';

const HELP = `npm run dev [-- --port N] [-- --host ADDRESS] [-- --dir DIR]

Runs the controller on this machine, with a build that waits for heartbeats sent by hand.

  --port N          default 3000
  --host ADDRESS    listen at this address of the machine, so that real VMs reach it; 0.0.0.0 means all (default 127.0.0.1)
  --dir DIR         folder of .dev.vars and .wrangler/state (default: the repository)
  --help            show this text

Exit code: 0 stopped with Ctrl-C, 1 the controller ended, 64 wrong usage, 69 the port or the address is not available.
`;
const EXIT = { ok: 0, failed: 1, usage: 64, unavailable: 69 } as const;
const WATCH_EVERY_MS = 2_000;
const REQUEST_MS = 10_000;
const SWEEP_EVERY_MS = 60_000;

interface DevOptions {
  port: number;
  host: string;
  dir: string;
}

const stopping = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stopping.abort(new Error(name)));
process.exitCode = await main(process.argv.slice(2));

async function main(words: string[]): Promise<number> {
  const options = parse(words);
  if (options === 'help') {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  if (typeof options === 'string') {
    process.stderr.write(`dev: ${options}\n\n${HELP}`);
    return EXIT.usage;
  }
  const { port, host, dir } = options;
  // Checked first, because a process that holds the port also holds the local database.
  const refusal = await whyNoPort(port, host);
  if (refusal) {
    process.stderr.write(`dev: ${refusal}\n`);
    return EXIT.unavailable;
  }
  const stateDir = path.join(dir, '.wrangler', 'state');
  try {
    const secrets = await devVars(path.join(dir, '.dev.vars'));
    console.log('Migrating the local database …');
    await using controller = await startController({
      ...{ stateDir, port, host, secrets },
      entry: 'local/dev/worker.ts',
      reloads: true,
      onLine: show,
      signal: stopping.signal,
    });
    await resetFixture(controller);
    console.log(greeting(controller.url, options));
    await Promise.race([watchFixture(controller), sweepEachMinute(controller), controller.ended]);
    if (stopping.signal.aborted) return EXIT.ok;
    stopping.abort(new Error('the controller has ended'));
    process.stderr.write('dev: The controller ended by itself. Run `npm run dev` again.\n');
  } catch (error) {
    if (stopping.signal.aborted) return EXIT.ok;
    process.stderr.write(`dev: ${(error as Error).message}\n`);
  }
  return EXIT.failed;
}

/** Returns the options, or a sentence that says what is wrong with the arguments. */
function parse(args: string[]): DevOptions | string {
  try {
    const { values } = parseArgs({
      args,
      options: {
        port: { type: 'string', default: '3000' },
        host: { type: 'string', default: '127.0.0.1' },
        dir: { type: 'string', default: PROJECT_ROOT },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) return 'help';
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      return `--port: ${values.port} is not a port; give a number from 1 to 65535`;
    return { port, host: values.host, dir: path.resolve(process.env.INIT_CWD ?? '.', values.dir) };
  } catch (error) {
    return (error as Error).message;
  }
}

/** A controller that listens at one address is not reached by the name localhost. */
function greeting(url: string, { port, host, dir }: DevOptions): string {
  const everywhere = ['127.0.0.1', '0.0.0.0', '::'].includes(host);
  const reached = everywhere ? `http://localhost:${port}` : url;
  const vars = path.relative(process.env.INIT_CWD ?? '.', path.join(dir, '.dev.vars'));
  return `
The controller is at ${reached}${host === '127.0.0.1' ? '' : ` (listening on ${host})`}. The admin key is ADMIN_KEY in ${vars}.
Send heartbeats by hand, with the monitor that runs in each VM:

    vm-image/vm-monitor.sh ${reached} ${FIXTURE.build} ${FIXTURE.worker} ${FIXTURE.key} 10

See what the controller knows about the build:

    curl -H "X-API-Key: $(sed -n 's/^ADMIN_KEY="\\(.*\\)"/\\1/p' ${vars})" ${reached}/api/builds/${FIXTURE.build}

Ctrl-C stops it.
`;
}

/** Reads the secrets of local development. Makes random ones at the first start, for this machine only. */
async function devVars(file: string): Promise<Secrets> {
  const made = await readFile(file, 'utf8').catch(() => null);
  if (made === null) {
    const secrets = randomSecrets();
    await writeFile(file, asEnvFile(secrets), { mode: 0o600 });
    console.log('Made .dev.vars with random secrets.');
    return secrets;
  }
  const { ADMIN_KEY, TOKEN_KEYS, INPUTS_KEY } = parseEnv(made);
  if (!ADMIN_KEY || !TOKEN_KEYS || !INPUTS_KEY)
    throw new Error(
      '.dev.vars lacks ADMIN_KEY, TOKEN_KEYS or INPUTS_KEY. Delete the file, and `npm run dev` makes a new one.',
    );
  return { ADMIN_KEY, TOKEN_KEYS, INPUTS_KEY };
}

/** Prints each beat on a line of its own, and errors. It leaves out everything else that wrangler prints. */
function show(line: string): void {
  const beat = line.startsWith('{"event":"beat"') ? beatOf(line) : null;
  if (beat) console.log(`beat  ${beat.build} attempt ${beat.attempt}, from the ${beat.source}: ${beat.outcome}`);
  else if (line.startsWith('{') || /error/i.test(line)) console.error(line);
}

function beatOf(line: string): Record<string, unknown> | null {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return null;
  }
}

async function resetFixture({ url, secrets }: LocalController): Promise<void> {
  const response = await fetch(`${url}${FIXTURE_PATH}`, {
    method: 'POST',
    headers: { 'X-API-Key': secrets.ADMIN_KEY },
    signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(REQUEST_MS)]),
  });
  if (!response.ok)
    throw new Error(
      `The build for heartbeats by hand could not be set back: the controller answered ${response.status}.`,
    );
}

async function watchFixture(controller: LocalController): Promise<void> {
  while (!stopping.signal.aborted) {
    // While wrangler loads changed code, no answer may come, or half of one.
    const build = await fixtureOf(controller).catch(() => null);
    if (build !== null && build.endedAt !== null) {
      const { verdict } = build;
      const words = verdict ? `${verdict.title} (${verdict.code})` : 'succeeded';
      console.log(`end   ${FIXTURE.build}: ${words}. Setting the build back.`);
      await resetFixture(controller).catch((error: Error) => console.error(error.message));
    }
    await sleep(WATCH_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => {});
  }
}

async function fixtureOf({ url, secrets }: LocalController): Promise<BuildDetail | null> {
  const response = await fetch(`${url}/api/builds/${FIXTURE.build}`, {
    headers: { 'X-API-Key': secrets.ADMIN_KEY },
    signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(REQUEST_MS)]),
  });
  return response.ok ? BuildDetail.parse(await response.json()) : null;
}

/** The cron does not run by itself on a developer's machine. */
async function sweepEachMinute(controller: LocalController): Promise<void> {
  while (!stopping.signal.aborted) {
    await controller.sweep().catch((error: Error) => console.error(`sweep: ${error.message}`));
    await sleep(SWEEP_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => {});
  }
}
