/**
 * Checks what the agent itself needs on this Mac: Node, its config, its SSH key, its files. To add a check,
 * add an entry.
 */
import { access, constants, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError } from '../config-findings.ts';
import { checkPrivateKey } from '../guest/ssh.ts';
import { configOf, type HostContext } from './host-context.ts';
import { fail, type HealthCheck, isAtLeast, pass, warn } from './run-checks.ts';

/** The oldest Node version that the packages of the agent support. */
const NODE_MIN = [22, 13] as const;

export const SETUP_CHECKS: readonly HealthCheck<HostContext>[] = [
  {
    id: 'node_version',
    title: 'Node is new enough',
    why: 'The agent uses functions that older versions of Node lack.',
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
    why: 'Most other checks need the config.',
    blocking: true,
    dependsOn: [],
    timeoutMs: 1_000,
    fix: 'Run `expo-worker init`.',
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
    why: 'Each clone has its own address. A fixed address would lead to another VM, or to none.',
    blocking: false,
    dependsOn: ['config'],
    timeoutMs: 1_000,
    fix: 'The setting does no harm. Remove vmIp from the config, and this line disappears.',
    async run(context) {
      const { vmIp } = configOf(context);
      return vmIp === undefined
        ? pass('tart ip')
        : warn(`vmIp ${vmIp} is not used: each clone has its own address, and the agent asks tart for it`);
    },
  },
  {
    id: 'ssh_key',
    title: 'SSH key is usable',
    why: 'The agent reaches its VMs with this key. The key must open nothing else, because VMs run builds of others.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 5_000,
    fix: 'Make a key for this purpose with `expo-worker init`, and put its public half into the base image.',
    async run(context) {
      const { vmSshKey } = configOf(context);
      const { mode } = await stat(vmSshKey);
      if (mode & 0o077) return fail(`other accounts can read ${vmSshKey}`, `Run \`chmod 600 ${vmSshKey}\`.`);
      const problem = checkPrivateKey(await readFile(vmSshKey));
      return problem ? fail(`${vmSshKey}: ${problem}`) : pass(vmSshKey);
    },
  },
  {
    id: 'file_modes',
    title: "Agent's files are its own",
    why: 'The config contains a key, and the state contains the tokens of running builds. The state may belong to root if the agent ran as a LaunchDaemon and is now started by hand.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 5_000,
    fix: 'Run `chmod 700 ~/.expo-worker && sudo chown -R "$USER" ~/.expo-worker`.',
    async run({ configPath }) {
      const folder = dirname(configPath);
      const { mode } = await stat(folder);
      if (mode & 0o022) return fail(`other accounts can write to ${folder}`, `Run \`chmod 700 ${folder}\`.`);
      const state = join(folder, 'state');
      const writable = await access(state, constants.W_OK).then(
        () => true,
        (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
      );
      return writable ? pass(folder) : fail(`this account cannot write to ${state}`);
    },
  },
];
