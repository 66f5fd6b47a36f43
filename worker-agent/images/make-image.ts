/**
 * Runs `vm-image/create-base-image.sh` with the settings of the config.
 *
 * Invariant: the script ends before the promise resolves. It shuts its VM down when it is told to stop.
 */
import { chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { ImageDigest, Sha256 } from '#contract';
import { type AgentConfig, vmControllerUrl } from '../config.ts';
import { asTartUser, tartUserOf } from '../mac/run-as.ts';
import { VM_IMAGE } from '../vm-image.ts';

/** Longer than the limits of the script's own steps. The download is its longest step. */
const LIMIT_MS = 12 * 3_600_000;

/** The script's exit code while another run of it makes the same VM. */
export const MAKE_BUSY_EXIT = 75;

/** Names another folder with the scripts, for tests. */
const SCRIPTS_VARIABLE = 'TARTBEAT_VM_IMAGE';

export interface MakeOptions {
  config: AgentConfig;
  /** The VM that the script works in. */
  vm: string;
  /** Further options of the script. */
  more: readonly string[];
  /** Certificates in PEM form, for `--ca`. */
  authorities?: string | undefined;
  /** Gets each line that the script prints. Without it the script has the terminal. */
  onLine?: ((line: string) => void) | undefined;
  /** Sends SIGTERM to the script. */
  signal?: AbortSignal | undefined;
}

export interface Made {
  exitCode: number;
  /** The values that the script writes at its end. Null if it failed. */
  result: { snapshot: string; digest: string | null; provisioned: string | null; from: string } | null;
}

export async function makeImage({ config, vm, more, authorities, onLine, signal }: MakeOptions): Promise<Made> {
  const { vmUser, vmSshKey, vmSshPort, tartPath, tartHome } = config;
  const folder = await mkdtemp(join(tmpdir(), 'tartbeat-result-'));
  const resultFile = join(folder, 'result');
  const options = { user: vmUser, key: vmSshKey, 'ssh-port': vmSshPort, controller: vmControllerUrl(config) };
  const words = Object.entries(options).flatMap(([option, value]) => [`--${option}`, String(value)]);
  const env = { TARTBEAT_TART: tartPath, ...(tartHome && { TART_HOME: tartHome }) };
  const user = tartUserOf();
  if (user) await chown(folder, user.uid, -1);
  const authoritiesFile = join(folder, 'authorities.pem');
  const wrapper = user ? asTartUser(user, { PATH: process.env.PATH, ...env }) : [];
  try {
    if (authorities) await writeFile(authoritiesFile, authorities);
    const script = [
      'sh',
      join(process.env[SCRIPTS_VARIABLE] ?? VM_IMAGE, 'create-base-image.sh'),
      vm,
      ...words,
      ...more,
      ...(authorities ? ['--ca', authoritiesFile] : []),
      '--result',
      resultFile,
    ];
    const [file = 'sh', ...args] = [...wrapper, ...script];
    const child = execa(file, args, {
      reject: false,
      stdio: onLine ? ['ignore', 'pipe', 'pipe'] : 'inherit',
      buffer: false,
      env,
      cancelSignal: signal,
      timeout: LIMIT_MS,
      // The script needs time to shut its VM down.
      forceKillAfterDelay: 120_000,
    });
    if (onLine)
      for (const stream of [child.stdout, child.stderr])
        if (stream) createInterface({ input: stream }).on('line', onLine);
    const { exitCode, signal: endedBy } = await child;
    const code = exitCode ?? 128 + (endedBy ? constants.signals[endedBy] : 0);
    return { exitCode: code, result: code === 0 ? resultOf(await readFile(resultFile, 'utf8').catch(() => '')) : null };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads lines of `key=value`. The first line of each key counts. */
export function resultOf(text: string): Made['result'] {
  const lines = text.split('\n').filter((line) => line.includes('='));
  const values = new Map(
    lines.reverse().map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
  const digest = ImageDigest.safeParse(values.get('digest'));
  const provisioned = Sha256.safeParse(values.get('provisioned'));
  const snapshot = values.get('snapshot');
  if (snapshot === undefined) return null;
  return {
    snapshot,
    digest: digest.success ? digest.data : null,
    provisioned: provisioned.success ? provisioned.data : null,
    from: values.get('from') ?? '',
  };
}
