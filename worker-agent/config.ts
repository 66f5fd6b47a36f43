/**
 * Reads and writes the agent's settings, `~/.expo-worker/config.json`. No other module touches that file, nor
 * `config.lock` in the state folder.
 *
 * Invariant: an AgentConfig has been checked, every default is filled in, and `~` is expanded. One
 * ConfigError names all faults of a file.
 */
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { KEEP_VM_MAX_MS } from '#contract';
import {
  ConfigError,
  cannotBeRead,
  clashesOf,
  findingsOf,
  isNotJson,
  madeByOthers,
  openToOthers,
  repeatedIn,
} from './config-findings.ts';
import { withFileLock } from './state/file-lock.ts';

/** The address at which a VM on Tart's NAT sees its host. */
export const TART_HOST_ADDRESS = '192.168.64.1';
/** Apple's licence and the kernel allow two macOS guests on one Mac. */
export const VMS_PER_MAC_MAX = 2;
/** The memory that macOS and the agent need beside the VMs. */
export const MAC_MEMORY_GB = 4;
export const IMAGES_MAX = 8;

/** Which networks a VM may reach. tart/isolation.ts says what each value means. */
export const ISOLATIONS = ['nat', 'softnet', 'controller'] as const;
export type Isolation = (typeof ISOLATIONS)[number];

const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'use letters, digits, dots, dashes and underscores; begin with a letter or digit',
  );
const httpUrl = z
  .string()
  .refine(isPlainHttpUrl, 'give an http:// or https:// address, without user, query or #')
  .transform((url) => url.replace(/\/+$/, ''));
const path = z.string().min(1, 'give a path').transform(expandHome);

const platforms = z.array(z.enum(['ios', 'android'])).min(1, 'name at least one');

/** An image: the VMs that builds are cloned from, under the name by which builds ask for it. */
const image = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'use 1 to 64 letters, digits, dots, dashes and underscores'),
  /** The VM that the image is made in. Its first snapshot is `<vmName>-base-snapshot`. */
  vmName: name,
  /** `android` only if the SDK and a JDK are in it. */
  platforms,
});
export type ImageConfig = z.output<typeof image>;

/** The only image of a config that names a VM and no images. */
const DEFAULT_IMAGE = 'default';

/** A registry, or a part of one: `ghcr.io/acme/`. */
const registry = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9.-]*(:\d{1,5})?\/([a-z0-9._/-]*\/)?$/,
    'write it as HOST/ or HOST/PATH/, with a slash at the end',
  );

export const AgentConfigSchema = z.strictObject({
  /** The VM of the only image. A config has either this or `images`. */
  vmName: name.optional(),
  /** The images of this Mac. The first one that has a platform is the default of that platform. */
  images: z
    .array(image)
    .min(1, 'name at least one')
    .max(IMAGES_MAX, `a Mac has at most ${IMAGES_MAX} images`)
    .optional(),
  /** The registries from which the agent may fetch an image that a pool names. */
  registries: z.array(registry).max(20).default([]),
  vmUser: z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/, 'give the name of the account in the VM'),
  vmSshKey: path,
  controllerUrl: httpUrl,
  apiKey: z.string().regex(/^[\x21-\x7e]{8,512}$/, 'give the key that was shown when the worker was registered'),
  /** Accepted because the guide has it, but not used: each clone has its own address, and Tart reports it. */
  vmIp: z.string().optional(),
  /** The controller's address as the VM reaches it, if it differs from controllerUrl. */
  vmControllerUrl: httpUrl.optional(),
  vmHostAddress: z.ipv4('give an IPv4 address').default(TART_HOST_ADDRESS),
  vmSshPort: z.int().min(1).max(65_535).default(22),
  /**
   * The host key of the first image's first snapshot, as `ssh-keygen -l` shows it. All clones have it, and no
   * other key is accepted. Once state/images.json has an entry of that image, only the key in that entry
   * counts.
   */
  vmHostKey: z
    .string()
    .regex(
      /^SHA256:[A-Za-z0-9+/]{43}$/,
      'write it as SHA256:…, as `ssh-keygen -l` shows it, or remove it and run `expo-worker doctor --pin-host-key`',
    )
    .optional(),
  isolation: z.enum(ISOLATIONS).default('nat'),
  vmCpus: z.int().min(1).max(64).optional(),
  vmMemoryMb: z.int().min(1024).max(1_048_576).optional(),
  vmDisplay: z
    .string()
    .regex(/^\d{2,5}x\d{2,5}(pt|px)?$/, 'write it as 1920x1080')
    .optional(),
  tartPath: path.default('tart'),
  /** Where Tart keeps its VMs. Without it Tart decides: $TART_HOME or ~/.tart. */
  tartHome: path.optional(),
  maxConcurrentBuilds: z
    .int()
    .min(1)
    .max(VMS_PER_MAC_MAX, `a Mac runs at most ${VMS_PER_MAC_MAX} macOS VMs`)
    .default(1),
  minFreeDiskGb: z.number().min(0).max(10_000).default(15),
  /** The platforms of the only image. `images` have their own. */
  platforms: platforms.optional(),
  /** How long the VM of a failed attempt may be kept. 0: it is never kept. */
  keepVmMaxMs: z.int().min(0).max(KEEP_VM_MAX_MS).default(0),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

export interface AgentConfig extends Omit<z.output<typeof AgentConfigSchema>, 'vmName' | 'images' | 'platforms'> {
  images: [ImageConfig, ...ImageConfig[]];
}
/** The settings as the file has them. */
export type AgentConfigInput = z.input<typeof AgentConfigSchema>;

function isPlainHttpUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url !== null && /^https?:$/.test(url.protocol) && !url.search && !url.hash && !url.username && !url.password;
}

export function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}

export const defaultConfigPath = (): string => join(homedir(), '.expo-worker', 'config.json');

/** The VM that is the first snapshot of an image. */
export const baseImageName = ({ vmName }: Pick<ImageConfig, 'vmName'>): string => `${vmName}-base-snapshot`;

/** The VM that is the snapshot made of a public image, `REPOSITORY@sha256:DIGEST`. */
export const snapshotName = ({ vmName }: Pick<ImageConfig, 'vmName'>, reference: string): string =>
  `${vmName}-base-${reference.slice(-64, -52)}`;

/** Whether the VM has a name that {@link snapshotName} gives. */
export const isSnapshotOf = ({ vmName }: Pick<ImageConfig, 'vmName'>, vm: string): boolean =>
  vm.slice(0, -12) === `${vmName}-base-` && /[0-9a-f]{12}$/.test(vm);

/** The controller's address for the VM. A controller on this Mac is not at the VM's own localhost. */
export function vmControllerUrl(
  config: Pick<AgentConfig, 'controllerUrl' | 'vmControllerUrl' | 'vmHostAddress'>,
): string {
  if (config.vmControllerUrl) return config.vmControllerUrl;
  const url = new URL(config.controllerUrl);
  if (!['localhost', '127.0.0.1', '[::1]', '0.0.0.0'].includes(url.hostname)) return config.controllerUrl;
  url.hostname = config.vmHostAddress;
  return url.href.replace(/\/+$/, '');
}

/** Throws ConfigError: the file is absent, unreadable, open to others, not JSON, or has wrong keys. */
export async function loadConfig(path: string = defaultConfigPath()): Promise<AgentConfig> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if (mode & 0o077) throw new ConfigError(path, [openToOthers(path, mode)]);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(path, [cannotBeRead((error as NodeJS.ErrnoException).code)]);
  }
  return parseConfig(text, path);
}

/** Throws ConfigError, whose message contains `path`. */
export function parseConfig(text: string, path: string): AgentConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(path, [isNotJson(error as Error, text)]);
  }
  const parsed = AgentConfigSchema.safeParse(value);
  if (parsed.success) return withImages(parsed.data, path);
  const settings = Object.keys(AgentConfigSchema.shape);
  const findings = parsed.error.issues.flatMap((issue) => findingsOf(issue, value, settings));
  throw new ConfigError(path, [...clashesOf(value), ...findings]);
}

/** Fills in the images. Throws ConfigError. */
function withImages(given: z.output<typeof AgentConfigSchema>, path: string): AgentConfig {
  const { vmName, images, platforms, ...rest } = given;
  const several = images ?? [];
  const repeated = [...repeatedIn(several, 'name'), ...repeatedIn(several, 'vmName')];
  const findings = [...clashesOf(given), ...repeated, ...madeByOthers(several)];
  if (findings.length > 0) throw new ConfigError(path, findings);
  const only = { name: DEFAULT_IMAGE, vmName: vmName!, platforms: platforms ?? ['ios', 'android'] };
  return { ...rest, images: images ? (images as AgentConfig['images']) : [only] };
}

/** Changes single settings and leaves the rest of the file as it is. Throws ConfigError. */
export async function changeConfig(path: string, change: Partial<AgentConfigInput>): Promise<AgentConfig> {
  await loadConfig(path);
  const stateDir = join(dirname(path), 'state');
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  // Otherwise two commands that run at once could undo each other's change.
  return withFileLock(join(stateDir, 'config.lock'), () =>
    saveConfig(path, { ...JSON.parse(readFileSync(path, 'utf8')), ...change }),
  );
}

/** Checks, then writes atomically with mode 0600. Makes the folder with mode 0700. Throws ConfigError. */
export function saveConfig(path: string, input: AgentConfigInput): AgentConfig {
  const text = `${JSON.stringify(input, null, 2)}\n`;
  const config = parseConfig(text, path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileAtomic.sync(path, text, { mode: 0o600 });
  chmodSync(path, 0o600); // otherwise an existing file would keep its mode
  return config;
}
