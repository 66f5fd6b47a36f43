/** Makes a Mac in a folder: the Tart simulator with a base image, and a config for the real agent. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../../local/farm/free-port.ts';
import { createBaseImage } from '../../../worker-agent/tart-simulator/home/base-image.ts';
import { generateKeyPair } from '../../../worker-agent/tart-simulator/key-pair.ts';
import { sweepSimulator, TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { WORKER_KEY } from '../servers/stand-in-controller.ts';
import { startAgent } from './agent-process.ts';
import { PATIENCE_MS } from './build-runs.ts';
import { temporaryDir } from './temporary-dir.ts';
import { until } from './until.ts';

const BASE = 'base-base-snapshot';

/** As `authorized_keys` has it in an image made with --restrict-key; a simulated guest's root is a folder. */
const TIED = 'restrict,command="$TARTBEAT_ROOT/usr/local/bin/vm-ssh-gate" ';

/** `tiedKey`: the agent's key is tied to vm-ssh-gate in the base image. */
export async function agentHost(controllerUrl: string, config: Record<string, unknown> = {}, { tiedKey = false } = {}) {
  const dir = temporaryDir();
  const tartHome = join(dir.path, 'tart');
  const key = generateKeyPair();
  const keyPath = join(dir.path, 'vm_key');
  writeFileSync(keyPath, key.private, { mode: 0o600 });
  const sshPort = await freePort();
  const publicKey = `${tiedKey ? TIED : ''}${key.public}`;
  await createBaseImage({ tartHome, name: BASE, user: 'admin', publicKey, sshPort });
  const configPath = join(dir.path, 'config.json');
  const written = {
    vmName: 'base',
    vmUser: 'admin',
    vmSshKey: keyPath,
    vmSshPort: sshPort,
    controllerUrl,
    apiKey: WORKER_KEY,
    tartPath: TART_SIMULATOR_PATH,
    tartHome,
    minFreeDiskGb: 0,
    ...config,
  };
  writeFileSync(configPath, JSON.stringify(written), { mode: 0o600 });
  const stateDir = join(dir.path, 'state');
  let gates = 0;
  const env = { TART_HOME: tartHome };
  const tart = (...args: string[]) =>
    execFileSync(TART_SIMULATOR_PATH, args, { env: { ...process.env, ...env }, encoding: 'utf8' });
  return {
    configPath,
    keyPath,
    sshPort,
    stateDir,
    tartHome,
    /** The VMs beside the base image. */
    vms: () =>
      tart('list', '-q')
        .split('\n')
        .filter((name) => name !== '' && name !== BASE),
    addressOf: (name: string) => tart('ip', name).trim(),
    addVm: (name: string) => tart('clone', BASE, name),
    /** Adds a VM of somebody else, and resolves when it runs. */
    async runVm(name: string) {
      tart('clone', BASE, name);
      tart('set', name, '--random-mac');
      const options = { env: { ...process.env, ...env }, stdio: 'ignore', detached: true } as const;
      spawn(TART_SIMULATOR_PATH, ['run', name, '--no-graphics'], options).unref();
      const list = () => JSON.parse(tart('list', '--format', 'json')) as { Name: string; State: string }[];
      await until(() => list().some((vm) => vm.Name === name && vm.State === 'running'), `${name} runs`, 60_000);
    },
    stopVm: (name: string) => tart('stop', name),
    journal: (name: string) => JSON.parse(readFileSync(join(stateDir, name, 'journal.json'), 'utf8')),
    hasJournal: (name: string) => existsSync(join(stateDir, name, 'journal.json')),
    attemptDirs: () => readdirSync(stateDir).filter((name) => /-\d+$/.test(name)),
    /** The folder that is `/` of the base image. */
    imageRoot: join(tartHome, 'vms', BASE, 'guest'),
    guestRoot: (name: string) => join(tartHome, 'vms', name, 'guest'),
    startAgent: (release: { entry?: string } = {}) => startAgent({ configPath, env, ...release }),
    /**
     * Waits until an attempt is over: its VM is deleted, and the controller has its last report and all of
     * its log. The agent destroys the VM and reports at the same time, so `slot_free` alone tells nothing of
     * the report. It deletes the journal when both are done.
     */
    async attemptEnds(agent: ReturnType<typeof startAgent>, buildId = 'b1', attempt = 1) {
      await agent.until({ type: 'slot_free', buildId, attempt });
      const journal = join(stateDir, `${buildId}-${attempt}`, 'journal.json');
      await until(() => !existsSync(journal), `${buildId} is reported`, PATIENCE_MS).catch((error) => {
        throw new Error(`${error.message}\n${agent.said()}`);
      });
    },
    /** Lets a build's command wait for the test, because a simulated guest sees the files of the host. */
    gate() {
      const path = join(dir.path, `gate-${++gates}`);
      return {
        wait: `until [ -e '${path}' ]; do sleep 0.1; done`,
        open: () => writeFileSync(path, ''),
      };
    },
    async [Symbol.asyncDispose]() {
      await sweepSimulator(tartHome);
      dir[Symbol.dispose]();
    },
  };
}
