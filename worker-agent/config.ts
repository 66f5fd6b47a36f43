/**
 * The agent's settings, `~/.expo-worker/config.json`. The only module that reads or writes that file.
 *
 * Invariant: whoever holds an AgentConfig holds a checked one, with every default filled in and `~` expanded. Whatever is wrong with the
 * file is one ConfigError that names each key and what to do about it.
 */
import { chmod, mkdir, readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { ISOLATIONS } from './tart/network.ts';

/** The address at which a VM on Tart's NAT sees its host. */
const TART_HOST_ADDRESS = '192.168.64.1';
/** Apple's licence and the kernel allow two macOS guests on one Mac. */
export const VMS_PER_MAC_MAX = 2;

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

export const AgentConfigSchema = z.strictObject({
  /** The VM that the base image was made from; clones are made from `<vmName>-base-snapshot`. */
  vmName: name,
  vmUser: z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/, 'give the name of the account in the VM'),
  vmSshKey: path,
  controllerUrl: httpUrl,
  apiKey: z.string().regex(/^[\x21-\x7e]{8,512}$/, 'give the key that was shown when the worker was registered'),
  /** Accepted because the guide has it; a clone gets another address, so `tart ip` is asked. */
  vmIp: z.string().optional(),
  /** How the VM sees the controller, if it differs from controllerUrl. */
  vmControllerUrl: httpUrl.optional(),
  vmHostAddress: z.ipv4('give an IPv4 address').default(TART_HOST_ADDRESS),
  vmSshPort: z.int().min(1).max(65_535).default(22),
  /** The base image's host key, as `ssh-keygen -l` shows it: all clones have it, and nothing else is talked to. */
  vmHostKey: z
    .string()
    .regex(/^SHA256:[A-Za-z0-9+/]{43}$/, 'write it as SHA256:… ; `expo-worker doctor --pin-host-key` does')
    .optional(),
  /** What a VM's network is kept from: isolation.ts. */
  isolation: z.enum(ISOLATIONS).default('nat'),
  vmCpus: z.int().min(1).max(64).optional(),
  vmMemoryMb: z.int().min(1024).max(1_048_576).optional(),
  vmDisplay: z
    .string()
    .regex(/^\d{2,5}x\d{2,5}(pt|px)?$/, 'write it as 1920x1080')
    .optional(),
  tartPath: path.default('tart'),
  /** Where Tart keeps its VMs; left out, Tart decides: $TART_HOME or ~/.tart. */
  tartHome: path.optional(),
  maxConcurrentBuilds: z.int().min(1).max(VMS_PER_MAC_MAX, 'a Mac runs at most 2 macOS VMs').default(1),
  minFreeDiskGb: z.number().min(0).max(10_000).default(15),
  platforms: z
    .array(z.enum(['ios', 'android']))
    .min(1, 'name at least one')
    .default(['ios', 'android']),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

export type AgentConfig = z.output<typeof AgentConfigSchema>;
/** As it stands in the file. */
export type AgentConfigInput = z.input<typeof AgentConfigSchema>;

export interface ConfigFinding {
  /** The key, or the file's path for what concerns the whole file. */
  key: string;
  problem: string;
  fix: string;
}

export class ConfigError extends Error {
  override name = 'ConfigError';
  findings: ConfigFinding[];
  constructor(path: string, findings: ConfigFinding[]) {
    super([`${path}:`, ...findings.map(({ key, problem, fix }) => `  ${key}: ${problem}. ${fix}`)].join('\n'));
    this.findings = findings;
  }
}

function isPlainHttpUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url !== null && /^https?:$/.test(url.protocol) && !url.search && !url.hash && !url.username && !url.password;
}

export function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}

export const defaultConfigPath = (): string => join(homedir(), '.expo-worker', 'config.json');

export const baseImageName = (config: Pick<AgentConfig, 'vmName'>): string => `${config.vmName}-base-snapshot`;

/** What the monitor in the VM is told: the controller on this very host is not at the VM's own localhost. */
export function vmControllerUrl(
  config: Pick<AgentConfig, 'controllerUrl' | 'vmControllerUrl' | 'vmHostAddress'>,
): string {
  if (config.vmControllerUrl) return config.vmControllerUrl;
  const url = new URL(config.controllerUrl);
  if (!['localhost', '127.0.0.1', '[::1]', '0.0.0.0'].includes(url.hostname)) return config.controllerUrl;
  url.hostname = config.vmHostAddress;
  return url.href.replace(/\/+$/, '');
}

/** Throws ConfigError: absent, unreadable, open to others, not JSON, or with wrong keys. */
export async function loadConfig(path: string = defaultConfigPath()): Promise<AgentConfig> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if (mode & 0o077)
      throw new ConfigError(path, [
        {
          key: 'file mode',
          problem: `others can read it (mode ${modeOf(mode)}), and it holds a key`,
          fix: `Run: chmod 600 ${path}`,
        },
      ]);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const absent = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new ConfigError(path, [
      absent
        ? { key: 'file', problem: 'it does not exist', fix: 'Run: expo-worker init' }
        : {
            key: 'file',
            problem: `it cannot be read (${(error as NodeJS.ErrnoException).code})`,
            fix: 'Let this user read it',
          },
    ]);
  }
  return parseConfig(text, path);
}

/** Throws ConfigError. `path` is for its message alone. */
export function parseConfig(text: string, path: string): AgentConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(path, [
      {
        key: 'file',
        problem: `not valid JSON${positionOf(error as Error, text)}`,
        fix: 'Correct it there, or run: expo-worker init --force',
      },
    ]);
  }
  const parsed = AgentConfigSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    path,
    parsed.error.issues.flatMap((issue) => findingsOf(issue, value)),
  );
}

/** Checks, then writes in one step with mode 0600; the folder is made with 0700. Throws ConfigError. */
export async function saveConfig(path: string, input: AgentConfigInput): Promise<AgentConfig> {
  const text = `${JSON.stringify(input, null, 2)}\n`;
  const config = parseConfig(text, path);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, text, { mode: 0o600 });
  await chmod(path, 0o600); // an existing file keeps its old mode otherwise
  return config;
}

/** Changes single settings and leaves all else of the file as it is. Throws ConfigError. */
export async function changeConfig(path: string, change: Partial<AgentConfigInput>): Promise<AgentConfig> {
  await loadConfig(path);
  return saveConfig(path, { ...JSON.parse(await readFile(path, 'utf8')), ...change });
}

const modeOf = (mode: number) => (mode & 0o777).toString(8).padStart(4, '0');

function positionOf(error: Error, text: string): string {
  const at = /position (\d+)/.exec(error.message)?.[1];
  const offset = at === undefined ? text.length : Number(at);
  const before = text.slice(0, offset).split('\n');
  return ` at line ${before.length}, column ${before.at(-1)!.length + 1}`;
}

function findingsOf(issue: z.core.$ZodIssue, value: unknown): ConfigFinding[] {
  const known = Object.keys(AgentConfigSchema.shape);
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => {
      const close = nearest(key, known);
      return {
        key,
        problem: 'no such setting',
        fix: close ? `Did you mean ${close}?` : `Remove it; the settings are ${known.join(', ')}`,
      };
    });
  const key = issue.path.map(String).join('.') || 'file';
  const absent = issue.path.length === 1 && !Object.hasOwn(Object(value), issue.path[0]!);
  if (absent) return [{ key, problem: 'missing', fix: `Add "${key}", or run: expo-worker init` }];
  if (issue.code === 'invalid_type')
    return [
      {
        key,
        problem: `must be ${article(issue.expected)}, not ${describe(at(value, issue.path))}`,
        fix: 'Correct its value',
      },
    ];
  return [{ key, problem: `not usable`, fix: sentence(issue.message) }];
}

const at = (value: unknown, path: PropertyKey[]) => path.reduce<unknown>((inner, key) => Object(inner)[key], value);
const article = (type: string) => (/^[aeio]/.test(type) ? `an ${type}` : `a ${type}`);
const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function describe(value: unknown): string {
  if (value === null) return 'null';
  return article(Array.isArray(value) ? 'array' : typeof value);
}

/** The known key within a third of the length in edits; a far one would be no help. */
function nearest(key: string, known: string[]): string | null {
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(key.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  return best && best.distance <= Math.max(2, Math.floor(key.length / 3)) ? best.candidate : null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
