/**
 * Makes a VM for builds with the real engine: a home and a root of their own, the guest scripts as the agent
 * calls them, and stand-ins for the programs of macOS and of the Android SDK.
 *
 * Invariant: nothing is written outside the folder, and no process of a build is left when it is disposed of.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { parseBuildStatus } from '../../../worker-agent/guest/answers.ts';
import { ownScripts } from '../../../worker-agent/guest/scripts.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { ENGINE, installed } from './engine-packages.ts';

const STAND_IN = join(import.meta.dirname, '../stand-ins/stand-in.sh');
const PRELOAD = join(import.meta.dirname, '../stand-ins/preload.cjs');
const STAND_INS = ['fastlane', 'pod', 'security', 'codesign', 'xcodebuild', 'xcrun', 'java', 'step', 'tar', 'mise'];
const LOOK_AGAIN_MS = 50;
const BUILD_WITHIN_MS = 60_000;

/** Stands in for guest scripts that are not there. */
const NOTHING: Record<string, string> = {
  'private-access.sh': 'lay_private_access() { :; }\nremove_private_access() { :; }\n',
  'toolchain.sh': 'install_tools() { :; }\n',
  'project.sh':
    'install_dependencies() { :; }\nread_app_config() { :; }\nask_number() { :; }\nas_in_engine() { "$@"; }\nexpo_config() { node node_modules/expo/bin/cli; }\n',
  'engine-eas.sh': 'run_eas() { :; }\n',
};

export interface EngineBuild {
  job: Record<string, unknown>;
  metadata?: Record<string, unknown>;
  appRoot?: string;
  /** Exported for the build. */
  env?: Record<string, string>;
  /** Further lines before expo.sh is sourced. */
  variables?: Record<string, string>;
}

export interface RunningBuild {
  /** $TARTBEAT_STATE. */
  state: string;
  source: string;
  log(): string;
  /** The exit code. */
  ended(): Promise<number>;
  /** Waits until a stand-in has begun this step. */
  began(step: string): Promise<void>;
  /** Waits until the build asks for its number. */
  asked(): Promise<void>;
  /** Kills the build as the agent does. Returns when it is known that nothing of the build's group lives. */
  kill(): Promise<void>;
  artifacts(): string[];
  artifact(name: string): Buffer;
}

export interface EngineVm extends Disposable {
  dir: string;
  root: string;
  home: string;
  /** The folder of the stand-ins; see stand-ins/stand-in.sh. */
  standIns: string;
  calls(): string[];
  start(projectDir: string, build: EngineBuild, wrapper?: readonly string[]): Promise<RunningBuild>;
  /** The processes with the environment of a build of this VM. */
  processes(): string[];
  /** The files below the VM, but for the log, that have any of the secrets: `PATH has NAME`. */
  filesWith(secrets: Record<string, Buffer>): string[];
}

const quoted = (text: string) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

interface Options {
  /** If false, the image does not have the engine. */
  engine?: boolean;
  /** How long a build may take; a real template installs its packages twice. */
  withinMs?: number;
  /** A folder of further programs. */
  programs?: string | undefined;
}

export async function engineVm({
  engine = true,
  withinMs = BUILD_WITHIN_MS,
  programs,
}: Options = {}): Promise<EngineVm> {
  const dir = temporaryDir();
  const root = join(dir.path, 'root');
  const home = join(root, 'Users/admin');
  const standIns = join(dir.path, 'stand-ins');
  const bin = join(root, 'opt/homebrew/bin');
  const modules = join(root, 'opt/homebrew/lib/node_modules');
  const guest = join(dir.path, 'guest');
  for (const folder of [
    home,
    bin,
    modules,
    join(root, 'tmp'),
    ...['began', 'fail', 'hang'].map((name) => join(standIns, name)),
  ])
    mkdirSync(folder, { recursive: true });
  writeFileSync(join(standIns, 'app'), `an app of ${dir.path}\n`);
  writeFileSync(join(standIns, 'calls'), '');
  for (const name of STAND_INS) symlinkSync(STAND_IN, join(bin, name));
  symlinkSync(process.execPath, join(bin, 'node'));
  for (const tool of ['npm', 'npx']) symlinkSync(onPath(tool), join(bin, tool));
  if (engine) {
    const name = ENGINE.slice(0, ENGINE.lastIndexOf('@'));
    symlinkSync(join(await installed([ENGINE]), 'node_modules', name), join(modules, name));
  }
  cpSync(ownScripts().folder, guest, { recursive: true });
  for (const [name, text] of Object.entries(NOTHING))
    if (!existsSync(join(guest, name))) writeFileSync(join(guest, name), text);
  writeFileSync(
    join(home, '.bash_profile'),
    `export PATH=${[bin, ...(programs ? [programs] : [])].map(quoted).join(':')}:/usr/bin:/bin\n`,
  );
  const env = {
    PATH: '/usr/bin:/bin',
    HOME: home,
    LANG: 'C.UTF-8',
    TARTBEAT_ROOT: root,
    STAND_INS: standIns,
    NODE_OPTIONS: `--require=${PRELOAD}`,
    TMPDIR: join(root, 'tmp'),
    npm_config_cache: process.env.npm_config_cache ?? join(process.env.HOME ?? '', '.npm'),
    ...Object.fromEntries(
      Object.entries(process.env).filter(([name]) => /^(NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR)$/.test(name)),
    ),
  };
  let attempts = 0;

  const processes = () => processesWith(`TARTBEAT_STATE=${home}/`);

  return {
    dir: dir.path,
    root,
    home,
    standIns,
    calls: () => readFileSync(join(standIns, 'calls'), 'utf8').trim().split('\n'),
    processes,
    async start(projectDir, { job, metadata = {}, appRoot = '.', env: buildEnv = {}, variables = {} }, wrapper = []) {
      const attempt = String(++attempts);
      const name = `build-${attempt}`;
      const state = join(home, '.tartbeat', name);
      const source = join(state, 'source');
      const log = join(root, 'tmp/build.log');
      mkdirSync(state, { recursive: true, mode: 0o700 });
      cpSync(projectDir, source, { recursive: true, verbatimSymlinks: true });
      rmSync(join(standIns, 'began'), { recursive: true });
      mkdirSync(join(standIns, 'began'));
      const whole = {
        projectArchive: { type: 'PATH', path: '@ARCHIVE@' },
        projectRootDirectory: appRoot,
        secrets: {},
        initiatingUserId: 'none',
        appId: 'none',
        ...job,
      };
      const set = {
        platform: String(job.platform),
        profile: 'production',
        app_root: appRoot,
        workspace_root: '.',
        workflow: String(job.type ?? ''),
        engine: 'plugin',
        manager: 'npm',
        manager_install: 'npm ci',
        tools: '',
        ask_number: '',
        ask_target: '',
        ...Object.fromEntries(
          ['secret_env', 'git_ssh_key', 'git_known_hosts', 'netrc', 'npmrc', 'expo_token'].map((key) => [key, '']),
        ),
        notes: 'Profile production, built by the engine plugin.',
        job: JSON.stringify({ job: whole, metadata }),
        ...variables,
      };
      const script = [
        'rm -f -- "$TARTBEAT_STATE/build.sh"',
        ...Object.entries(buildEnv).map(([key, value]) => `export ${key}=${quoted(value)}`),
        ...Object.entries(set).map(([key, value]) => `${key}=${quoted(value)}`),
        `. ${quoted(join(guest, 'expo.sh'))}`,
        '',
      ].join('\n');
      const buildScript = join(guest, 'build.sh');
      const call = (subcommand: string, more: string[] = [], input = '') =>
        execa(buildScript, [subcommand, name, 'b1', attempt, ...more], { env, extendEnv: false, input });
      const [program, ...args] = [
        ...wrapper,
        buildScript,
        'start',
        name,
        'b1',
        attempt,
        String(Buffer.byteLength(script)),
      ];
      const starting = execa(program!, args, {
        env,
        extendEnv: false,
        input: script,
        stdout: 'ignore',
        stderr: 'pipe',
      });
      starting.catch(() => {});
      if (wrapper.length === 0) await starting;
      const until = async <T>(look: () => Promise<T | null> | T | null, what: string): Promise<T> => {
        const giveUpAt = performance.now() + withinMs;
        for (;;) {
          const found = await look();
          if (found !== null) return found;
          if (performance.now() > giveUpAt)
            throw new Error(`${what} did not happen:\n${running.log().slice(-8_000)}\n${processes().join('\n')}`);
          await sleep(LOOK_AGAIN_MS);
        }
      };
      const running: RunningBuild = {
        state,
        source,
        log: () => (existsSync(log) ? readFileSync(log, 'utf8') : ''),
        ended: () =>
          until(async () => {
            const { stdout } = await call('status');
            const status = parseBuildStatus(`${stdout}\n`);
            // strace ends with the build, so nobody has waited for the start.
            if (status?.state === 'lost' && !existsSync(join(state, 'build.pgid'))) return null;
            if (status?.state === 'lost') throw new Error(`the build was lost:\n${running.log().slice(-8_000)}`);
            return status?.state === 'ended' ? status.exitCode : null;
          }, 'the end of the build'),
        async began(step) {
          await until(() => (existsSync(join(standIns, 'began', step)) ? true : null), `the step ${step}`);
        },
        async asked() {
          await until(() => (existsSync(join(state, 'app.json')) ? true : null), 'the question for the number');
        },
        async kill() {
          await call('kill');
        },
        artifacts: () => listFiles(join(source, 'tartbeat-artifacts')),
        artifact: (file) => readFileSync(join(source, 'tartbeat-artifacts', file)),
      };
      return running;
    },
    filesWith(secrets) {
      const found: string[] = [];
      for (const file of listFiles(root)) {
        const path = join(root, file);
        if (file === 'tmp/build.log' || !statSync(path, { throwIfNoEntry: false })?.isFile()) continue;
        const content = readFileSync(path);
        for (const [name, secret] of Object.entries(secrets))
          if (content.includes(secret)) found.push(`${file} has ${name}`);
      }
      return found;
    },
    [Symbol.dispose]() {
      for (const line of processes())
        try {
          process.kill(Number(line.split(' ', 1)[0]), 'SIGKILL');
        } catch {
          // It has ended.
        }
      dir[Symbol.dispose]();
    },
  };
}

/** Lists the living processes of this machine that have a variable with this beginning: `PID COMMAND`. */
export function processesWith(variable: string): string[] {
  const lines: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!`\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}`.includes(`\0${variable}`)) continue;
      if (/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) continue;
      lines.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')}`);
    } catch {
      // It has ended since.
    }
  }
  return lines;
}

function listFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

function onPath(program: string): string {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('/node_modules/'));
  const path = folders.map((folder) => join(folder, program)).find((candidate) => existsSync(candidate));
  if (!path) throw new Error(`${program} is not on the PATH`);
  return path;
}

/** All files of an archive, one after the other. */
export const textInArchive = (path: string): string => execFileSync('tar', ['-xzOf', path], { encoding: 'utf8' });
