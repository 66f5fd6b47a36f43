/**
 * Is this Mac fit to be a worker? Asked by `doctor`. To add a check, add an entry.
 */
import { readFile, stat, statfs } from 'node:fs/promises';
import { Health, Me } from '#contract';
import { type AgentConfig, baseImageName, ConfigError, VMS_PER_MAC_MAX } from '../config.ts';
import { checkPrivateKey } from '../ssh.ts';
import type { Tart } from '../tart.ts';
import { fail, type HealthCheck, pass, warn } from './run-checks.ts';

export interface HostCheckContext {
  configPath: string;
  /** What loading it gave. */
  config: AgentConfig | ConfigError;
  /** Made from the config; throws while there is none. */
  tart: () => Tart;
}

const NODE_MIN = [22, 18] as const;
const CLOCK_TOLERANCE_MS = 30_000;
const REQUEST_TIMEOUT_MS = 10_000;
const GB = 1e9;

/** For checks that depend on `config`. */
function configOf({ config }: HostCheckContext): AgentConfig {
  if (config instanceof ConfigError) throw config;
  return config;
}

export const HOST_CHECKS: readonly HealthCheck<HostCheckContext>[] = [
  {
    id: 'node_version',
    title: 'Node is new enough',
    blocking: true,
    dependsOn: [],
    timeoutMs: 1_000,
    fix: `Install Node ${NODE_MIN.join('.')} or newer.`,
    async run() {
      const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
      const enough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
      return enough ? pass(process.version) : fail(process.version);
    },
  },
  {
    id: 'config',
    title: 'Config is complete',
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
    id: 'tart',
    title: 'Tart is installed',
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
    id: 'base_image',
    title: 'Base image is there',
    blocking: true,
    dependsOn: ['tart'],
    timeoutMs: 30_000,
    fix: 'Make it from the VM that you have set up: tart stop NAME; tart clone NAME NAME-base-snapshot',
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
    id: 'vm_slots',
    title: 'A VM slot is free',
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
    id: 'host_clock',
    title: 'Mac agrees with the controller on the time',
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
