/**
 * Installs the agent as a job of launchd, removes it, and reads how the job is. No other module controls jobs
 * of launchd.
 *
 * Invariant: at most one job of the label is loaded, and it is the job in the file. If an installation stops
 * halfway, a second one finishes it.
 */
import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parse } from 'plist';
import writeFileAtomic from 'write-file-atomic';
import { pause } from '../../client/retry.ts';
import { loadConfig } from '../config.ts';
import { CommandError } from '../exit-codes.ts';
import type { Account } from './account.ts';
import { domainOf, JOB_KINDS, type JobKind, type JobOptions, LABEL, plistOf, plistPathOf } from './launchd-plist.ts';
import type { Mac } from './programs.ts';

const POLL_MS = 500;
/** After this many polls we tell the person at the terminal that a build still runs. */
const WAITING_POLLS = 4;
/** The later polls are slower, because a build may take hours and each poll starts a launchctl. */
const WAITING_POLL_MS = 5_000;
/** Files of the state folder, with their initial text. SQLite reads an empty file as a new database. */
const SHARED_FILES = {
  ...{ 'agent.json': '{}\n', 'images.json': '{}\n', 'made-with.json': '{}\n' },
  ...{ 'config.lock': '', 'images.lock': '', 'made-with.lock': '' },
};

export interface JobState {
  kind: JobKind;
  plistPath: string;
  /** Null if there is no such file, or it cannot be read. */
  plist: Record<string, unknown> | null;
  loaded: boolean;
  pid: number | null;
  lastExitCode: number | null;
}

/**
 * Reads the jobs of both kinds, the daemon first, also where there is no job. Rejects with CommandError if
 * launchd gives no answer, which must not be taken for a job that is not loaded.
 */
export async function readJobs(mac: Mac, account: Account, signal?: AbortSignal): Promise<JobState[]> {
  return await Promise.all(
    JOB_KINDS.map(async (kind) => {
      const plistPath = mac.file(plistPathOf(kind, account));
      const answer = await mac.run('launchctl', ['print', `${domainOf(kind, account)}/${LABEL}`], signal);
      if (answer.exitCode === null) {
        signal?.throwIfAborted();
        throw new CommandError(
          `launchctl did not answer whether the agent is loaded as a ${NAMES[kind]}. Run the same command again, and restart the Mac if launchctl never answers.`,
        );
      }
      const figure = (name: string) => {
        const found = new RegExp(`^\\s*${name} = (-?\\d+)`, 'm').exec(answer.stdout)?.[1];
        return found === undefined ? null : Number(found);
      };
      return {
        kind,
        plistPath,
        plist: await readPlist(plistPath),
        loaded: answer.exitCode === 0,
        pid: figure('pid'),
        lastExitCode: figure('last exit code'),
      };
    }),
  );
}

/**
 * Rejects with CommandError or ConfigError for faults that the user has to correct. Then nothing has changed.
 */
export async function installJob(
  mac: Mac,
  options: JobOptions,
  { signal, onWaiting }: { signal: AbortSignal; onWaiting: () => void },
): Promise<{ plistPath: string; changed: boolean }> {
  const { kind, account, configPath } = options;
  requireMac(mac);
  await requireRights(mac, kind, 'install');
  await loadConfig(configPath);
  const other = (await readJobs(mac, account, signal)).find((job) => job.kind !== kind);
  if (other?.loaded || other?.plist)
    throw new CommandError(
      `The agent is already installed as a ${NAMES[other.kind]}. Run \`${uninstallLine(other.kind)}\` first.`,
    );
  const plistPath = mac.file(plistPathOf(kind, account));
  const text = plistOf(options);
  const before = await readFile(plistPath, 'utf8').catch(() => null);
  const [job] = (await readJobs(mac, account, signal)).filter((one) => one.kind === kind);
  // This is needed even if nothing else changes, because a former release had other files.
  if (kind === 'daemon') await prepareSharedFiles(configPath, account);
  if (before === text && job?.loaded) return { plistPath, changed: false };

  // A build may run. launchd lets it finish, so we wait and write the new file only afterwards.
  if (job?.loaded) await unload(mac, kind, account, { signal, onWaiting });
  await mkdir(dirname(plistPath), { recursive: true });
  await writeFileAtomic(plistPath, text, { mode: 0o644 });
  await chmod(plistPath, 0o644); // launchd refuses a file that others can write
  if (kind === 'daemon') await chown(plistPath, 0, 0).catch(() => {});
  await act(mac, ['enable', `${domainOf(kind, account)}/${LABEL}`], signal);
  await act(mac, ['bootstrap', domainOf(kind, account), plistPath], signal);
  return { plistPath, changed: true };
}

/** Removes the job of either kind. Resolves with the files that were removed. */
export async function uninstallJob(
  mac: Mac,
  account: Account,
  options: { configPath: string; signal: AbortSignal; onWaiting: () => void },
): Promise<string[]> {
  requireMac(mac);
  const jobs = (await readJobs(mac, account, options.signal)).filter(({ loaded, plist }) => loaded || plist !== null);
  for (const { kind } of jobs) await requireRights(mac, kind, 'uninstall');
  for (const { kind, loaded, plistPath } of jobs) {
    if (loaded) await unload(mac, kind, account, options);
    await rm(plistPath, { force: true });
    if (kind === 'daemon') await handBack(dirname(options.configPath), account);
  }
  return jobs.map(({ plistPath }) => plistPath);
}

const NAMES: Record<JobKind, string> = { daemon: 'LaunchDaemon', agent: 'LaunchAgent' };
const uninstallLine = (kind: JobKind) => `${kind === 'daemon' ? 'sudo ' : ''}expo-worker uninstall`;

function requireMac(mac: Mac): void {
  if (mac.platform !== 'darwin')
    throw new CommandError('launchd is a part of macOS. On this system, let your init system run `expo-worker run`.');
}

async function requireRights(mac: Mac, kind: JobKind, command: string): Promise<void> {
  const isRoot = mac.uid === 0;
  if (kind === 'daemon' && !isRoot)
    throw new CommandError(
      `A LaunchDaemon needs root. Run \`sudo expo-worker ${command}\`${command === 'install' ? ', or choose --launch-agent' : ''}.`,
    );
  if (kind === 'agent' && isRoot)
    throw new CommandError(`A LaunchAgent belongs to the account, so run \`expo-worker ${command}\` without sudo.`);
}

/**
 * Resolves when launchd no longer knows the job, which takes as long as the job needs to finish its build.
 */
async function unload(
  mac: Mac,
  kind: JobKind,
  account: Account,
  { signal, onWaiting }: { signal: AbortSignal; onWaiting: () => void },
): Promise<void> {
  const service = `${domainOf(kind, account)}/${LABEL}`;
  // Fails with EINPROGRESS while the agent finishes a build.
  await mac.run('launchctl', ['bootout', service], signal);
  for (let polls = 0; ; polls++) {
    const { exitCode } = await mac.run('launchctl', ['print', service], signal);
    if (exitCode !== 0 && exitCode !== null) return;
    if (polls === WAITING_POLLS) onWaiting();
    await pause(polls < WAITING_POLLS ? POLL_MS : WAITING_POLL_MS, signal);
  }
}

async function act(mac: Mac, args: string[], signal: AbortSignal): Promise<void> {
  const { exitCode, stderr } = await mac.run('launchctl', args, signal);
  if (exitCode !== 0)
    throw new CommandError(
      `launchctl ${args.join(' ')} failed (${exitCode ?? 'no answer'}): ${stderr.trim() || 'it printed nothing'}`,
    );
}

async function readPlist(path: string): Promise<Record<string, unknown> | null> {
  try {
    const text = await readFile(path, 'utf8');
    // For any other text the parser would print a warning on standard error.
    return text.includes('<plist') ? (parse(text) as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/**
 * Makes the files that commands of the account also use, before root makes them, and gives them to the
 * account. The daemon runs as root; a file keeps its owner.
 */
async function prepareSharedFiles(configPath: string, { uid }: Account): Promise<void> {
  const state = join(dirname(configPath), 'state');
  await mkdir(state, { recursive: true, mode: 0o700 });
  const { gid } = await stat(dirname(configPath));
  for (const [name, text] of Object.entries(SHARED_FILES))
    await writeFile(join(state, name), text, { flag: 'wx', mode: 0o600 }).catch((error) => {
      if (error.code !== 'EEXIST') throw error;
    });
  for (const name of ['', ...Object.keys(SHARED_FILES)]) await chown(join(state, name), uid, gid).catch(() => {});
}

/**
 * Gives the account the files that root has written beside the config, so that it can run `expo-worker run`.
 */
async function handBack(dir: string, { uid }: Account): Promise<void> {
  const { gid } = await stat(dir);
  const entries = await readdir(dir, { recursive: true }).catch(() => []);
  for (const entry of entries) await chown(join(dir, entry), uid, gid).catch(() => {});
}
