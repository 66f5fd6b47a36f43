import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import ssh2, { type Client, type ConnectConfig } from 'ssh2';
import { createBaseImage } from '../../../worker-agent/tart-simulator/home/base-image.ts';
import { generateKeyPair } from '../../../worker-agent/tart-simulator/key-pair.ts';
import { VM_MARK } from '../../../worker-agent/tart-simulator/processes/members.ts';
import { environmentOf } from '../../../worker-agent/tart-simulator/processes/process-table.ts';
import {
  simulatorProcesses,
  sweepSimulator,
  TART_SIMULATOR_PATH,
} from '../../../worker-agent/tart-simulator/simulator.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const USER = 'builder';
export const BASE = 'mac-base-snapshot';

export interface Ended {
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
}

/** Makes a TART_HOME with a base image. At the end of the test no process of it lives. */
export async function simulatedMac({ bootMs = 0 }: { bootMs?: number } = {}) {
  const directory = temporaryDir();
  const home = join(directory.path, 'tart');
  const { private: privateKey, public: publicKey } = generateKeyPair();
  await createBaseImage({ tartHome: home, name: BASE, user: USER, publicKey, bootMs });

  async function tartWith(variables: Record<string, string>, ...args: string[]): Promise<Ended> {
    const { CI: _, TART_NO_AUTO_PRUNE: __, ...others } = process.env;
    const env = { ...others, TART_HOME: home, ...variables };
    const result = await execa(TART_SIMULATOR_PATH, args, { env, extendEnv: false, reject: false, stdin: 'ignore' });
    return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr };
  }

  const tart = (...args: string[]) => tartWith({}, ...args);

  /** Starts a tart detached, as the agent starts `tart run`. Its output so far can be read. */
  function start(...args: string[]) {
    const child = spawn(TART_SIMULATOR_PATH, args, {
      env: { ...process.env, TART_HOME: home },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (said.stdout += chunk));
    child.stderr.on('data', (chunk) => (said.stderr += chunk));
    const ended = new Promise<Ended & { signal: string | null }>((resolve) =>
      child.once('close', (code, signal) => resolve({ ...said, exitCode: code ?? undefined, signal })),
    );
    return { pid: child.pid!, said, ended };
  }

  function members(name: string) {
    const { runId } = JSON.parse(readFileSync(join(home, 'vms', name, 'running.json'), 'utf8'));
    return simulatorProcesses(home).filter(({ pid }) => environmentOf(pid).includes(`${VM_MARK}=${runId}`));
  }

  const run = (name: string, ...options: string[]) => start('run', name, '--no-graphics', ...options);

  async function address(name: string): Promise<string> {
    const { stdout, stderr } = await tart('ip', name, '--wait', '30');
    if (!/^127\.\d+\.\d+\.\d+$/.test(stdout)) throw new Error(`no address: ${stdout}${stderr}`);
    return stdout;
  }

  const connectTo = (host: string, options: ConnectConfig = {}) =>
    connectSsh({ host, port: 22_022, username: USER, privateKey, ...options });
  const connect = async (name: string, options: ConnectConfig = {}) => connectTo(await address(name), options);

  /** Clones and runs a VM, and waits until it answers over SSH. */
  async function boot(name: string) {
    await tart('clone', BASE, name);
    await tart('set', name, '--random-mac');
    const running = run(name);
    return { ...running, ssh: await connect(name) };
  }

  return {
    home,
    tart,
    tartWith,
    start,
    run,
    address,
    connect,
    connectTo,
    boot,
    folder: (name: string) => join(home, 'vms', name),
    config: (name: string) => JSON.parse(readFileSync(join(home, 'vms', name, 'config.json'), 'utf8')),
    names: async () => (await tart('list', '-q')).stdout.split('\n').filter(Boolean),
    processes: () => simulatorProcesses(home),
    /** The processes of a VM that runs. */
    members,
    isFrozen: (name: string) => members(name).every(({ pid }) => isStopped(pid)),
    nothingLives: () => until(() => simulatorProcesses(home).length === 0, 'nothing of the simulator lives'),
    async [Symbol.asyncDispose]() {
      await sweepSimulator(home);
      directory[Symbol.dispose]();
    },
  };
}

/**
 * Also true if it has ended. A process whose child was stopped between vfork and exec waits in the kernel, in
 * state D, and cannot be stopped itself.
 */
function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return 'TD'.includes(stat[stat.lastIndexOf(')') + 2]!);
  } catch {
    return true;
  }
}

export interface CommandResult {
  stdout: string;
  stderr: string;
  code: number | undefined;
  signal: string | undefined;
}

export interface SshClient extends Disposable {
  client: Client;
  exec(command: string, stdin?: string): Promise<CommandResult>;
}

/** Rejects if the server refuses or sends nothing. */
export async function connectSsh(config: ConnectConfig): Promise<SshClient> {
  const client = new ssh2.Client();
  await new Promise<void>((resolve, reject) => {
    client.once('ready', resolve);
    client.on('error', reject);
    client.once('close', () => reject(new Error('closed')));
    client.connect({ readyTimeout: 20_000, ...config });
  });
  return {
    client,
    exec: (command, stdin = '') => exec(client, command, stdin),
    [Symbol.dispose]: () => client.destroy(),
  };
}

function exec(client: Client, command: string, stdin: string): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const closed = () => reject(new Error('the connection closed'));
    client.setMaxListeners(0).once('close', closed);
    client.exec(command, (error, channel) => {
      if (error) return reject(error);
      const result: CommandResult = { stdout: '', stderr: '', code: undefined, signal: undefined };
      channel.on('data', (chunk: Buffer) => (result.stdout += chunk));
      channel.stderr.on('data', (chunk: Buffer) => (result.stderr += chunk));
      channel.on('exit', (code: number | null, signal?: string) => {
        result.code = code ?? undefined;
        result.signal = signal?.replace(/^SIG/, '');
      });
      channel.once('close', () => {
        client.off('close', closed);
        resolve(result);
      });
      channel.end(stdin);
    });
  });
}
