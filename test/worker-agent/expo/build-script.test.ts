/** Runs the script of a profile's build by a real bash, beside an expo.sh that tells what it was given. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { BuildPlan } from '../../../client/plan/plan.ts';
import { SCRIPT_NAMES } from '../../../client/plan/script-variables.ts';
import { buildScript } from '../../../worker-agent/expo/build-script.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const VERSION = '3-0123456789abcdef';
const HOSTILE = `it's "$(touch hacked)" \`touch hacked\` \\ \n; touch hacked #`;

const aPlan = (change: Partial<BuildPlan> = {}): BuildPlan => ({
  platform: 'ios',
  profile: 'production',
  appRoot: 'apps/mobile',
  workflow: 'managed',
  engine: 'plugin',
  notes: ['one', 'two'],
  manager: { manager: 'npm', workspaceRoot: '.', install: 'npm ci --include=dev' },
  tools: [
    { name: 'node', version: '22' },
    { name: 'pnpm', version: '10.1.0' },
  ],
  job: JSON.stringify({ job: { projectArchive: '@ARCHIVE@', version: { buildNumber: '@NUMBER@' } }, metadata: {} }),
  number: { asked: 'in the VM', increment: true },
  exported: {},
  secret: {},
  reserved: {},
  secretTexts: [],
  ...change,
});

/** The variables that expo.sh finds, and the environment of a program that it starts. */
function run(plan: BuildPlan, number: number | null = null, env: Record<string, string> = {}) {
  using dir = temporaryDir();
  const guest = join(dir.path, '.tartbeat/guest', VERSION);
  mkdirSync(guest, { recursive: true });
  const tell = SCRIPT_NAMES.map((name) => `printf '%s\\0' "$${name}"`).join('\n');
  writeFileSync(join(guest, 'expo.sh'), `{\n${tell}\n} >"$HOME/variables"\nenv -0 >"$HOME/environment"\n`);
  writeFileSync(join(dir.path, 'build.sh'), buildScript(plan, number, VERSION));
  const { status, stderr, stdout } = spawnSync('bash', ['-l', 'build.sh'], {
    cwd: dir.path,
    env: { HOME: dir.path, PATH: process.env.PATH, ...env },
    encoding: 'utf8',
  });
  expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: '', stdout: '' });
  expect(spawnSync('ls', ['hacked'], { cwd: dir.path }).status).not.toBe(0);
  const parts = (name: string) => readFileSync(join(dir.path, name), 'utf8').split('\0').slice(0, -1);
  const values = parts('variables');
  return {
    variables: Object.fromEntries(SCRIPT_NAMES.map((name, index) => [name, values[index]])),
    environment: Object.fromEntries(
      parts('environment').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    ),
  };
}

test('the guest scripts find each variable as it is, whatever text it is', () => {
  const reserved = {
    GIT_SSH_KEY: `key\n${HOSTILE}\n`,
    GIT_KNOWN_HOSTS: 'h',
    NETRC: 'n',
    NPMRC: HOSTILE,
    EXPO_TOKEN: 't',
  };
  const { variables } = run(aPlan({ notes: [HOSTILE], reserved, appRoot: "it's a folder" }));
  expect(variables).toMatchObject({
    platform: 'ios',
    profile: 'production',
    app_root: "it's a folder",
    workspace_root: '.',
    engine: 'plugin',
    manager: 'npm',
    manager_install: 'npm ci --include=dev',
    tools: 'node 22\npnpm 10.1.0',
    ask_number: '1',
    notes: HOSTILE,
    git_ssh_key: `key\n${HOSTILE}\n`,
    git_known_hosts: 'h',
    netrc: 'n',
    npmrc: HOSTILE,
    // Only the engine `eas` speaks with Expo.
    expo_token: '',
    secret_env: '',
  });
});

test('programs have the plain variables of the build, and none of the others', () => {
  const reserved = { GIT_SSH_KEY: 'secret-1', NETRC: 'secret-2', NPMRC: 'secret-3', EXPO_TOKEN: 'secret-4' };
  const plan = aPlan({ exported: { API_URL: HOSTILE, EMPTY: '' }, secret: { TOKEN: 'secret-5' }, reserved });
  // An image may have these variables. bash would export a variable that it found in its environment.
  const { environment } = run(plan, null, { job: 'of the image', npmrc: 'of the image' });
  expect(environment).toMatchObject({ API_URL: HOSTILE, EMPTY: '' });
  for (const name of SCRIPT_NAMES) expect(environment).not.toHaveProperty(name);
  expect(JSON.stringify(environment)).not.toMatch(/secret-\d|@ARCHIVE@/);
});

test('a number that is known stands in the job and in the environment; else the build asks for it', () => {
  const known = run(
    aPlan({ number: { asked: 'before the boot', request: { app: { id: 'a.b' }, increment: true } } }),
    7,
  );
  expect(JSON.parse(known.variables.job!).job).toEqual({ projectArchive: '@ARCHIVE@', version: { buildNumber: '7' } });
  expect(known.variables.ask_number).toBe('');
  expect(known.environment.TARTBEAT_BUILD_NUMBER).toBe('7');
  const asked = run(aPlan());
  expect(JSON.parse(asked.variables.job!).job.version).toEqual({ buildNumber: '@NUMBER@' });
  expect(asked.environment).not.toHaveProperty('TARTBEAT_BUILD_NUMBER');
});

test('for the engine eas, secret variables are lines that only its own process runs', () => {
  const plan = aPlan({
    engine: 'eas',
    job: null,
    number: { asked: 'never' },
    secret: { TOKEN: HOSTILE, OTHER: 'o' },
    reserved: { EXPO_TOKEN: 'expo', P12_PASSWORD: 'never passed on' },
  });
  const { variables, environment } = run(plan);
  expect(variables).toMatchObject({ job: '', ask_number: '', expo_token: 'expo' });
  expect(environment).not.toHaveProperty('TOKEN');
  const { stdout } = spawnSync('bash', ['-c', `${variables.secret_env}\nprintf '%s|%s' "$TOKEN" "$OTHER"`], {
    encoding: 'utf8',
  });
  expect(stdout).toBe(`${HOSTILE}|o`);
  expect(JSON.stringify(variables)).not.toContain('never passed on');
});
