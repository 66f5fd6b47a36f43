/**
 * Is this Mac fit to be a worker? Asked by `doctor`. To add a check, add an entry.
 */
import { access, constants, readFile, stat, statfs } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { DAY_MS, Health, Me } from '#contract';
import { type AgentConfig, baseImageName, VMS_PER_MAC_MAX, vmControllerUrl } from '../config.ts';
import { ConfigError } from '../config-findings.ts';
import { checkPrivateKey } from '../guest/ssh.ts';
import type { Mac } from '../mac/programs.ts';
import { controllerAddresses, ISOLATION_MEANS } from '../tart/network.ts';
import type { Tart } from '../tart/tart.ts';
import { fail, type HealthCheck, pass, warn } from './run-checks.ts';

export interface HostCheckContext {
  configPath: string;
  /** What loading it gave. */
  config: AgentConfig | ConfigError;
  /** Made from the config; throws while there is none. */
  tart: () => Tart;
  mac: Mac;
}

/** What the packages of the agent ask for. */
const NODE_MIN = [22, 13] as const;
/** From here on Tart is free for internal use; before, its licence counts CPU cores. */
const TART_LICENCE_MIN = [2, 33] as const;
/** macOS guests with fewer freeze. */
const VM_CPUS_MIN = 4;
/** Left to the Mac itself. */
const HOST_MEMORY_BYTES = 4e9;
const CLOCK_TOLERANCE_MS = 30_000;
const REQUEST_TIMEOUT_MS = 10_000;
const GB = 1e9;
const KEY_AGE_MAX_DAYS = 90;

/** For checks that depend on `config`. */
function configOf({ config }: HostCheckContext): AgentConfig {
  if (config instanceof ConfigError) throw config;
  return config;
}

export const HOST_CHECKS: readonly HealthCheck<HostCheckContext>[] = [
  {
    id: 'node_version',
    title: 'Node is new enough',
    why: 'The agent uses what older versions of Node lack.',
    blocking: true,
    dependsOn: [],
    timeoutMs: 1_000,
    fix: `Install Node ${NODE_MIN.join('.')} or newer.`,
    async run() {
      return isAtLeast(process.versions.node, NODE_MIN) ? pass(process.version) : fail(process.version);
    },
  },
  {
    id: 'config',
    title: 'Config is complete',
    why: 'Without a complete config there is nothing to check against.',
    blocking: true,
    dependsOn: [],
    timeoutMs: 1_000,
    fix: 'Run: expo-worker init',
    async run({ config, configPath }) {
      if (!(config instanceof ConfigError)) return pass(configPath);
      const { findings } = config;
      const detail = findings.map(({ key, problem }) => `${key}: ${problem}`).join('; ');
      return fail(detail, findings.map(({ fix }) => fix).join('; '));
    },
  },
  {
    id: 'vm_ip_setting',
    title: 'Addresses come from tart',
    why: 'Each clone has an address of its own, so that a fixed one would lead to another VM or to none.',
    blocking: false,
    dependsOn: ['config'],
    timeoutMs: 1_000,
    fix: 'Nothing breaks; remove vmIp from the config to be rid of this line.',
    async run(context) {
      const { vmIp } = configOf(context);
      return vmIp === undefined
        ? pass('tart ip')
        : warn(`vmIp ${vmIp} is not used: each clone gets an address of its own, and tart ip is asked for it`);
    },
  },
  {
    id: 'ssh_key',
    title: 'SSH key is usable',
    why: 'It is how the agent reaches its VMs, and it must open nothing else: builds run beside it.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 5_000,
    fix: 'Make one for this purpose with `expo-worker init`, and put its public part into the base image.',
    async run(context) {
      const { vmSshKey } = configOf(context);
      const { mode } = await stat(vmSshKey);
      if (mode & 0o077) return fail(`${vmSshKey} can be read by others`, `Run: chmod 600 ${vmSshKey}`);
      const problem = checkPrivateKey(await readFile(vmSshKey));
      return problem ? fail(`${vmSshKey}: ${problem}`) : pass(vmSshKey);
    },
  },
  {
    id: 'file_modes',
    title: "Agent's files are its own",
    why: 'The config holds a key, the state holds tokens of running builds. After a change between daemon and hand-started agent the state may belong to root.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 5_000,
    fix: 'Run: chmod 700 ~/.expo-worker && sudo chown -R "$USER" ~/.expo-worker',
    async run({ configPath }) {
      const folder = dirname(configPath);
      const { mode } = await stat(folder);
      if (mode & 0o022) return fail(`others can write ${folder}`, `Run: chmod 700 ${folder}`);
      const state = join(folder, 'state');
      const writable = await access(state, constants.W_OK).then(
        () => true,
        (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
      );
      return writable ? pass(folder) : fail(`${state} cannot be written`);
    },
  },
  {
    id: 'tart',
    title: 'Tart is installed',
    why: 'Tart makes, starts and deletes the VMs. launchd gives programs a short PATH.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 30_000,
    fix: 'Install it with `brew install cirruslabs/cli/tart`, or set tartPath to where it is; launchd has a short PATH.',
    async run(context, signal) {
      const result = await context.tart().version(signal);
      return result.ok ? pass(`version ${result.version}`) : fail(result.message);
    },
  },
  {
    id: 'tart_licence',
    title: 'Tart may be used without counting cores',
    why: 'Since 2.33.0 Tart is under FSL-1.1-ALv2, which allows internal use. Before, the Fair Source License bound free use to a number of CPU cores. doctor tells the version, not what your use needs.',
    blocking: false,
    dependsOn: ['tart'],
    timeoutMs: 30_000,
    fix: 'Update Tart to 2.33.0 or later with `brew upgrade tart`, or see that its older licence covers your use.',
    async run(context, signal) {
      const result = await context.tart().version(signal);
      if (!result.ok) return fail(result.message);
      if (!/^\d+\.\d+/.test(result.version)) return warn(`version ${result.version}, of which nothing is known`);
      return isAtLeast(result.version, TART_LICENCE_MIN)
        ? pass(`${result.version}: FSL-1.1-ALv2`)
        : warn(`${result.version}: Fair Source License`);
    },
  },
  {
    id: 'base_image',
    title: 'Base image is there',
    why: 'Every build runs in a fresh clone of it.',
    blocking: true,
    dependsOn: ['tart'],
    timeoutMs: 30_000,
    fix: 'Run: expo-worker base-image. Or from a VM that you have set up yourself: tart stop NAME; tart clone NAME NAME-base-snapshot',
    async run(context, signal) {
      const name = baseImageName(configOf(context));
      const listed = await context.tart().list(signal);
      if (!listed.ok) return fail(listed.message);
      const image = listed.vms.find((vm) => vm.name === name && vm.source === 'local');
      if (!image) return fail(`tart list does not show ${name}`);
      if (image.state === 'stopped') return pass(name);
      return fail(
        `${name} is ${image.state}; a clone of it would begin in the middle of something`,
        `Run: tart stop ${name}`,
      );
    },
  },
  {
    id: 'vm_cpus',
    title: 'VMs have enough processors',
    why: 'macOS guests with fewer than 4 virtual processors freeze now and then.',
    blocking: false,
    dependsOn: ['base_image'],
    timeoutMs: 5_000,
    fix: `Set vmCpus to ${VM_CPUS_MIN} or more in the config.`,
    async run(context) {
      const config = configOf(context);
      const image = await context.tart().hardware(baseImageName(config));
      if (!image.ok) return fail(image.message);
      const cpus = config.vmCpus ?? image.cpus;
      if (cpus === null) return pass('the base image does not say');
      if (cpus < VM_CPUS_MIN) return warn(`${cpus} for each VM`);
      const wanted = cpus * config.maxConcurrentBuilds;
      const has = availableParallelism();
      return wanted <= has
        ? pass(`${wanted} of ${has}`)
        : warn(`${wanted} for ${config.maxConcurrentBuilds} VM(s), and the Mac has ${has}`, FEWER);
    },
  },
  {
    id: 'host_memory',
    title: 'Mac has memory for its VMs',
    why: 'A Mac that swaps makes every beat of its VMs late.',
    blocking: false,
    dependsOn: ['base_image'],
    timeoutMs: 5_000,
    fix: 'Lower vmMemoryMb or maxConcurrentBuilds in the config.',
    async run(context) {
      const config = configOf(context);
      const image = await context.tart().hardware(baseImageName(config));
      if (!image.ok) return fail(image.message);
      const each = config.vmMemoryMb ? config.vmMemoryMb * 1024 ** 2 : image.memoryBytes;
      if (each === null) return pass('the base image does not say');
      const detail = `${gb(each * config.maxConcurrentBuilds)} for VMs, the Mac has ${gb(totalmem())}`;
      return each * config.maxConcurrentBuilds + HOST_MEMORY_BYTES <= totalmem() ? pass(detail) : warn(detail);
    },
  },
  {
    id: 'vm_slots',
    title: 'A VM slot is free',
    why: "Apple's licence and macOS allow two macOS VMs on one Mac.",
    blocking: false,
    dependsOn: ['tart'],
    timeoutMs: 30_000,
    fix: 'Stop what is running, or wait for its build to end. If nothing runs and starts still fail, restart the Mac.',
    async run(context, signal) {
      const listed = await context.tart().list(signal);
      if (!listed.ok) return fail(listed.message);
      const running = listed.vms.filter(({ state }) => state === 'running').map(({ name }) => name);
      const detail = `${running.length} of ${VMS_PER_MAC_MAX} running`;
      return running.length < VMS_PER_MAC_MAX ? pass(detail) : warn(`${detail}: ${running.join(', ')}`);
    },
  },
  {
    id: 'host_disk',
    title: 'Mac has free disk space',
    why: 'A clone shares the disk of the Mac; when that is full, VMs freeze.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 5_000,
    fix: 'Free space: a clone begins small and grows with every file that its build writes. `tart prune` empties caches.',
    async run(context) {
      const { minFreeDiskGb } = configOf(context);
      const { bavail, bsize } = await statfs(context.tart().home).catch(() => statfs('/'));
      const free = (bavail * bsize) / GB;
      const detail = `${free.toFixed(1)} GB free`;
      return free >= minFreeDiskGb ? pass(detail) : fail(`${detail}, ${minFreeDiskGb} GB needed`);
    },
  },
  {
    id: 'controller_reachable',
    title: 'Mac reaches the controller',
    why: 'The agent asks the controller for builds, and tells it that they live.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: REQUEST_TIMEOUT_MS,
    fix: 'Open controllerUrl followed by /health in a browser on this Mac.',
    async run(context, signal) {
      const { controllerUrl } = configOf(context);
      const answer = await get(`${controllerUrl}/health`, signal);
      if (answer.status !== 200) return fail(`${controllerUrl}/health answered ${answer.status}`);
      return Health.safeParse(answer.json).success
        ? pass(controllerUrl)
        : fail(`${controllerUrl}/health is answered by something else than a controller`);
    },
  },
  {
    id: 'api_key',
    title: 'Key is that of a worker',
    why: 'The key says which worker this is.',
    blocking: true,
    dependsOn: ['controller_reachable'],
    timeoutMs: REQUEST_TIMEOUT_MS,
    fix: 'Register this worker with the controller, and put the key that it shows into apiKey.',
    async run(context, signal) {
      const { controllerUrl, apiKey } = configOf(context);
      const answer = await get(`${controllerUrl}/api/me`, signal, { Authorization: `Bearer ${apiKey}` });
      if (answer.status === 401) return fail('the controller does not know this key, or it was revoked');
      const me = Me.safeParse(answer.json);
      if (answer.status !== 200 || !me.success) return fail(`${controllerUrl}/api/me answered ${answer.status}`);
      if (me.data.scope !== 'worker') return fail(`this is a key for ${me.data.scope}, not for a worker`);
      return pass(`worker ${me.data.workerId}`);
    },
  },
  {
    id: 'api_key_age',
    title: 'Key was renewed lately',
    why: 'A key that is renewed now and then is of no use to who found an old one.',
    blocking: false,
    dependsOn: ['api_key'],
    timeoutMs: REQUEST_TIMEOUT_MS,
    fix: 'Run: expo-worker rotate-key',
    async run(context, signal) {
      const { controllerUrl, apiKey } = configOf(context);
      const answer = await get(`${controllerUrl}/api/me`, signal, { Authorization: `Bearer ${apiKey}` });
      const { createdAt, expiresAt } = Me.parse(answer.json);
      if (expiresAt !== null) return warn(`it expires at ${expiresAt}`);
      if (createdAt === null) return pass('the controller does not say how old it is');
      const days = Math.floor((Date.now() - Date.parse(createdAt)) / DAY_MS);
      return days <= KEY_AGE_MAX_DAYS ? pass(`${days} days old`) : warn(`${days} days old`);
    },
  },
  {
    id: 'isolation',
    title: 'What VMs are kept from',
    why: 'Builds are code of others; what they may reach is a choice to be made knowingly.',
    blocking: false,
    dependsOn: ['config'],
    timeoutMs: 5_000,
    fix: 'Install softnet with `brew install cirruslabs/cli/softnet`, let it run as root (its README says how), or set "isolation": "nat".',
    async run(context, signal) {
      const config = configOf(context);
      const { isolation } = config;
      if (isolation !== 'nat' && !(await isOnPath('softnet')))
        return warn(`${isolation} is set, but there is no softnet here: no VM would start`);
      if (isolation !== 'controller') return pass(ISOLATION_MEANS[isolation]);
      signal.throwIfAborted();
      const addresses = await controllerAddresses(vmControllerUrl(config));
      return pass(`${ISOLATION_MEANS.controller} (${addresses.join(', ')})`);
    },
  },
  {
    id: 'host_clock',
    title: 'Mac agrees with the controller on the time',
    why: 'Certificates and tokens depend on it.',
    blocking: false,
    dependsOn: ['controller_reachable'],
    timeoutMs: REQUEST_TIMEOUT_MS,
    fix: 'Turn on "Set time and date automatically". VMs get their time from this Mac.',
    async run(context, signal) {
      const before = Date.now();
      const answer = await get(`${configOf(context).controllerUrl}/health`, signal);
      const offMs = (before + Date.now()) / 2 - Date.parse(Health.parse(answer.json).time);
      const detail = `off by ${Math.round(offMs / 1000)} s`;
      return Math.abs(offMs) <= CLOCK_TOLERANCE_MS ? pass(detail) : warn(detail);
    },
  },
];

/** Tart looks for softnet there. */
async function isOnPath(program: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const there = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (there) return true;
  }
  return false;
}

const FEWER =
  'Lower maxConcurrentBuilds or vmCpus in the config; builds that share processors are slow and look stuck.';
const gb = (bytes: number) => `${(bytes / GB).toFixed(1)} GB`;

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [first = 0, second = 0] = version.split('.').map(Number);
  return first > major || (first === major && second >= minor);
}

/** Throws in one line when there is no answer. */
async function get(url: string, signal: AbortSignal, headers: Record<string, string> = {}) {
  try {
    const response = await fetch(url, { signal, headers, redirect: 'manual' });
    const json: unknown = await response.json().catch(() => undefined);
    return { status: response.status, json };
  } catch (error) {
    const { message, cause } = error as Error & { cause?: Error };
    throw new Error(`${url} does not answer: ${cause?.message || (cause as NodeJS.ErrnoException)?.code || message}`);
  }
}
