/**
 * Makes the environment of a guest's programs, and prepares the guest before each start. A build in the guest
 * reaches the registry that the host reaches: it has the host's certificates and npm settings, but not its
 * home and proxies.
 */
import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { VM_MARK } from '../processes/members.ts';

export interface GuestFacts {
  runId: string;
  /** The guest's `/`, on the host. */
  root: string;
  user: string;
  macAddress: string;
  address: string;
  /** The gateway's URL. */
  proxy: string;
  /** The process that serves SSH. */
  serverPid: number;
}

/** Stand-ins for programs of macOS: they describe the VM, where the real ones would describe the host. */
const FACADE = join(import.meta.dirname, '../facade');

/** The PATH that macOS gives to a command over SSH, which is not a login. */
const SHORT_PATH = '/usr/bin:/bin:/usr/sbin:/sbin';

const PASSED_ON =
  /^(npm_config_.+|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR)|CURL_CA_BUNDLE|GIT_SSL_CAINFO|REQUESTS_CA_BUNDLE)$/i;
/**
 * npm settings that concern only the host: its folders and proxies, and how much the caller's own npm prints.
 */
const NOT_PASSED_ON =
  /^npm_config_(prefix|global_prefix|local_prefix|userconfig|globalconfig|init_module|node_gyp|user_agent|loglevel|proxy|https?_proxy|no_?proxy)$/i;

export const guestHome = (root: string, user: string) => join(root, 'Users', user);
const globalNpmrc = (root: string) => join(root, 'usr', 'etc', 'npmrc');

export function guestEnvironment(facts: GuestFacts, host: NodeJS.ProcessEnv): Record<string, string> {
  const settings = Object.entries(host).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && PASSED_ON.test(entry[0]) && !NOT_PASSED_ON.test(entry[0]),
  );
  const { proxy, root, user } = facts;
  return {
    ...Object.fromEntries(settings),
    HOME: guestHome(root, user),
    USER: user,
    LOGNAME: user,
    SHELL: '/bin/bash',
    PATH: `${FACADE}:${SHORT_PATH}`,
    TMPDIR: join(root, 'var', 'tmp'),
    TARTBEAT_ROOT: root,
    [VM_MARK]: facts.runId,
    TART_SIM_FACADE: FACADE,
    TART_SIM_MAC: facts.macAddress,
    TART_SIM_ADDRESS: facts.address,
    TART_SIM_SERVER: String(facts.serverPid),
    http_proxy: proxy,
    https_proxy: proxy,
    HTTP_PROXY: proxy,
    HTTPS_PROXY: proxy,
    NODE_USE_ENV_PROXY: '1',
    // Otherwise a proxy in an npmrc would take precedence over the ones above.
    npm_config_proxy: proxy,
    npm_config_https_proxy: proxy,
    ...(existsSync(globalNpmrc(root)) && { npm_config_globalconfig: globalNpmrc(root) }),
  };
}

/** The id of this start of the guest, for facade/sysctl: a UUID and the time in seconds. */
const BOOT_SESSION = join('var', 'run', 'boot-session');

/** Rules of pf that facade/pfctl has loaded. */
export const PACKET_FILTER = join('var', 'run', 'pf.conf');

/**
 * Renews the guest at each start: empty temporary folders, the id of the start, the host's npmrc files, and
 * its Node and npm as if from Homebrew.
 */
export function prepareGuest(root: string, user: string, host: NodeJS.ProcessEnv): void {
  for (const folder of [join('var', 'tmp'), 'tmp']) rmSync(join(root, folder), { recursive: true, force: true });
  for (const folder of [join('var', 'tmp'), 'tmp', join('var', 'run'), join('usr', 'etc')])
    mkdirSync(join(root, folder), { recursive: true });
  mkdirSync(guestHome(root, user), { recursive: true });
  rmSync(join(root, PACKET_FILTER), { force: true });
  writeFileSync(join(root, BOOT_SESSION), `${randomUUID().toUpperCase()} ${Math.floor(Date.now() / 1_000)}\n`);
  const tools = join(root, 'opt', 'homebrew', 'bin');
  rmSync(tools, { recursive: true, force: true });
  mkdirSync(tools, { recursive: true });
  symlinkSync(process.execPath, join(tools, 'node'));
  for (const tool of ['npm', 'npx', 'corepack', 'yarn', 'pnpm', 'bun']) {
    const path = onPath(tool, host);
    if (path) symlinkSync(path, join(tools, tool));
  }
  const npm = onPath('npm', host);
  const global = [host.npm_config_globalconfig, npm && join(dirname(npm), '..', 'etc', 'npmrc'), '/etc/npmrc'];
  copyFirst(global, globalNpmrc(root));
  copyFirst([host.npm_config_userconfig, join(homedir(), '.npmrc')], join(guestHome(root, user), '.npmrc'));
}

/**
 * Skips the node_modules folders that `npm run` puts first, because a Mac does not have this package's own
 * tools.
 */
function onPath(tool: string, host: NodeJS.ProcessEnv): string | undefined {
  return (host.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder.startsWith('/') && !folder.includes('/node_modules/'))
    .map((folder) => join(folder, tool))
    .find((path) => existsSync(path));
}

function copyFirst(candidates: readonly (string | undefined)[], target: string): void {
  rmSync(target, { force: true });
  const source = candidates.find((path) => path && existsSync(path));
  if (source) copyFileSync(source, target);
}
