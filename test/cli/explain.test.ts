/**
 * Compares what `explain` says of a profile with what the agent makes of the same source: the archive that is
 * packed of the folder, the plan that is made of that archive, and the script for the VM.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import type { Inputs } from '#contract';
import { type ExplainFlags, explain } from '../../cli/commands/project/explain.ts';
import { linesOf, textOf } from '../../cli/commands/project/explained.ts';
import { JsonLine } from '../../cli/json-lines/json-lines.ts';
import { writeArchive } from '../../client/packing/archive.ts';
import { listSource } from '../../client/packing/list-source.ts';
import { explainBuild } from '../../client/plan/explain-build.ts';
import { originsOf } from '../../client/plan/field-origins.ts';
import { type BuildPlan, makePlan } from '../../client/plan/plan.ts';
import { chainOf, resolveProfile } from '../../client/project/build-profile.ts';
import { readEasJson } from '../../client/project/eas-json.ts';
import type { Found } from '../../client/project/found.ts';
import { type ProjectFiles, withFilesOver } from '../../client/project/project-files.ts';
import { buildScript } from '../../worker-agent/expo/build-script.ts';
import { filesInArchive } from '../../worker-agent/expo/source-files.ts';
import { project } from '../client/packing/trees.ts';
import { PROFILES, SHAPES } from '../client/project/factories/example-profiles.ts';
import { managedProject } from '../client/project/factories/example-projects.ts';
import { filesOf } from '../client/project/factories/files-of.ts';
import { PKCS12 } from '../client/signing/keystores.ts';
import { makeIdentity, makeP12, makeProfile, PASSWORD } from '../client/signing/material.ts';
import { randomEasJson } from '../expo/projects/random-eas-json.ts';
import { expoBuild, jsonLinesOf } from './factories/expo-build.ts';

const { signal } = new AbortController();
type Platform = 'ios' | 'android';
type Line<Type extends JsonLine['type']> = Extract<JsonLine, { type: Type }>;
type Files = Record<string, string | Buffer>;

const signing: Files = { 'release.jks': Buffer.from(PKCS12, 'base64') };
beforeAll(() => {
  const identity = makeIdentity();
  signing['dist.p12'] = makeP12(identity);
  signing['app.mobileprovision'] = makeProfile(identity, { bundleId: 'dev.example.*' });
});

/** The credentials of all targets that any of the projects has. */
function credentials(...targets: string[]): string {
  const entry = {
    provisioningProfilePath: 'app.mobileprovision',
    distributionCertificate: { path: 'dist.p12', password: PASSWORD },
  };
  const keystore = { keystorePath: 'release.jks', keystorePassword: 'geheim', keyAlias: 'upload' };
  const ios = Object.fromEntries(targets.map((name) => [name, entry]));
  return JSON.stringify({ ios, android: { keystore } });
}
const IGNORED = 'credentials.json\n*.p12\n*.mobileprovision\n*.jks\n';

interface Case {
  files: Files;
  appRoot: string;
  platform: Platform;
  profile: string;
  easJson: EasJson;
  flags?: Partial<ExplainFlags>;
}
interface EasJson {
  cli?: object;
  build?: Record<string, object>;
}

function write(root: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

const FLAGS: Omit<ExplainFlags, 'platform'> = {
  ...{ include: [], secretFile: [], env: [], secretEnv: [], easignoreAdds: false, offline: true, pool: 'default' },
};

/** The files of which the agent makes its plan, and the function that makes it. */
interface Agent {
  files: ProjectFiles;
  plan(files?: ProjectFiles): Promise<Found<BuildPlan>>;
}

async function agentOf(dir: string, { appRoot, platform, profile, flags = {} }: Case, inputs: Inputs): Promise<Agent> {
  const source = await listSource({ appDir: join(dir, 'project', appRoot), root: join(dir, 'project'), signal });
  const archive = join(dir, 'source.archive');
  await writeArchive(source.root, source.files, archive, { signal });
  const files = await filesInArchive(archive, signal);
  const imageNames = flags.image ? [flags.image] : ['mac', 'mac-base'];
  const request = { platform, profile, appRoot, originVariables: {}, imageNames, inputs, now: new Date() };
  return { files, plan: (own = files) => makePlan({ ...request, files: own }) };
}

async function compare(one: Case): Promise<{ lines: JsonLine[]; text: string; made: Found<BuildPlan> }> {
  using it = project();
  const { appRoot, platform, profile, easJson, flags = {} } = one;
  const easPath = appRoot === '.' ? 'eas.json' : `${appRoot}/eas.json`;
  write(it.path, { ...one.files, [easPath]: JSON.stringify(easJson) });
  const explained = await explain(
    join(it.path, appRoot),
    { ...FLAGS, root: it.path, platform, profile, ...flags },
    signal,
  );
  const lines = linesOf(explained).map((line) => JsonLine.parse(JSON.parse(JSON.stringify(line))));
  const of = <Type extends JsonLine['type']>(type: Type) =>
    lines.filter((line): line is Line<Type> => line.type === type);
  const [whole] = of('explained_build') as [Line<'explained_build'>];

  const secretFiles = Object.fromEntries(
    Object.entries(one.files)
      .filter(
        ([path]) =>
          path.endsWith('credentials.json') || path in signing || /\/[^/]+\.(p12|mobileprovision|jks)$/.test(path),
      )
      .map(([path, content]) => [path, Buffer.from(content).toString('base64')]),
  );
  const env = Object.fromEntries((flags.env ?? []).map((pair) => pair.split('=') as [string, string]));
  const secrets = Object.fromEntries((flags.secretEnv ?? []).map((name) => [name, process.env[name]!]));
  const inputs = { env: { ...env, ...secrets }, secretNames: Object.keys(secrets), secretFiles };
  const agent = await agentOf(it.dir, one, inputs);
  const made = await agent.plan();

  expect(whole.refusal).toBe(made.ok ? null : made.problem);
  if (made.ok) {
    const plan = made.value;
    const script = buildScript(plan, plan.number.asked === 'before the boot' ? 42 : null, 'v1');
    expect(script).toContain(`engine='${whole.engine}'`);
    expect(script).toContain(`workflow='${whole.workflow}'`);
    expect(script).toContain(`manager='${whole.manager}'`);
    expect(script).toContain(`manager_install='${whole.install}'`);
    expect(of('explained_tool').map(({ name, version }) => ({ name, version }))).toEqual(plan.tools);
    expect(plan.notes[0]).toBe(whole.because);
    const notes = of('explained_note').map(({ message }) => message);
    expect(notes.filter((note) => !note.startsWith('Stored secrets are not looked at'))).toEqual(plan.notes);
    expect(whole.number).toMatch(NUMBER_WORDS[plan.number.asked === 'never' ? 'never' : 'asked']);
    if (plan.number.asked === 'before the boot') expect(whole.number).toContain(plan.number.request.app.id);
    const token = of('explained_secret').find(({ name }) => name === 'EXPO_TOKEN');
    expect(token?.is).toBe(plan.engine === 'eas' ? 'given' : undefined);
    // A case that is signed takes long, so not every one of them tries its fields.
    if (appRoot === '.' || plan.engine === 'eas') await takeFieldsAway(one, agent, plan, of('explained_field'));
  }
  return { lines, text: textOf(explained), made };
}

const NUMBER_WORDS = {
  never: /^(The number (in the project stays|is the one in the project)|An app for the simulator|Expo's server)/,
  asked: /^The number is (the next one of|the one that) Tartbeat's counter/,
};

/** Takes each field away. Without an ignored field the same is built, and without a used one it is not. */
async function takeFieldsAway(one: Case, agent: Agent, plan: BuildPlan, fields: Line<'explained_field'>[]) {
  const [before, told] = [built(plan), carried(plan)];
  // eas-cli reads the profile itself, in the VM.
  const isRead = plan.engine === 'eas';
  for (const { field, path, fate, value } of fields) {
    const without = structuredClone(one.easJson) as Record<string, never>;
    const keys = pathKeys(one.easJson, path);
    const last = keys.pop()!;
    const owner = keys.reduce((at: Record<string, never>, key) => at[key]!, without);
    delete owner[last];
    const eas = new Map([
      [one.appRoot === '.' ? 'eas.json' : `${one.appRoot}/eas.json`, Buffer.from(JSON.stringify(without))],
    ]);
    const made = await agent.plan(withFilesOver(agent.files, eas));
    const after = made.ok ? built(made.value) : { problem: made.problem };
    if (fate === 'ignored') expect({ field, ...after }).toEqual({ field, ...before });
    else if (isRead && field !== 'environment') continue;
    else if (!SAME_WITHOUT.has(`${field}=${value}`) && !isInherited(one, path, value))
      expect(made.ok ? carried(made.value) : after, `${field} is ${fate}`).not.toEqual(told);
  }
}

/** Names of profiles may have dots. Names of fields have none. */
function pathKeys({ build = {} }: EasJson, path: string): string[] {
  const [top, ...rest] = path.split('.');
  if (top !== 'build') return [top!, ...rest];
  const profile = Object.keys(build).find((name) => rest.join('.').startsWith(`${name}.`))!;
  return [
    top,
    profile,
    ...rest
      .join('.')
      .slice(profile.length + 1)
      .split('.'),
  ];
}

/** Values that may be left out: the usual value of a field, and fields that only other fields can change. */
const SAME_WITHOUT = new Set([
  ...['distribution=store', 'credentialsSource=remote', 'autoIncrement=false', 'cli.appVersionSource=local'],
  // A build with its own signing files uses them, whatever the profile says.
  ...['credentialsSource=local', 'simulator=false', 'withoutCredentials=false'],
  // These change nothing for an app without a signature, or where the configuration is named.
  ...[
    'distribution=internal',
    'autoIncrement=true',
    'autoIncrement=buildNumber',
    'autoIncrement=versionCode',
    'buildType=apk',
    'scheme=Tiny',
    'cli.appVersionSource=remote',
  ],
]);

/** Whether the field has the same value where the profile extends another. */
function isInherited({ easJson: { build = {} }, platform }: Case, path: string, value: unknown): boolean {
  const last = path.split('.').at(-1)!;
  const holders = Object.values(build) as Record<string, Record<string, unknown>>[];
  const same = holders.filter((one) =>
    [one, one[platform], one.env, (one[platform] as Record<string, unknown> | undefined)?.env].some(
      (place) => (place as Record<string, unknown> | undefined)?.[last] === value,
    ),
  );
  return same.length > 1;
}

/** The parts of the plan that the VM gets. */
function carried({ job: text, engine, tools, number, manager, workflow, exported, secret }: BuildPlan) {
  const { job } = JSON.parse(text ?? '{"job":null}');
  return { job, engine, tools, number, manager, workflow, exported, secret };
}

/** The parts that change what the VM builds, without those that Expo's engine only carries along. */
function built(plan: BuildPlan): object {
  const { job, ...rest } = carried(plan);
  if (job !== null) {
    delete job.cache;
    delete job.experimental.uploadSourceMaps;
    for (const name of ['ndk', 'pnpm', 'yarn', 'bun']) delete job.builderEnvironment[name];
    if (job.platform === 'android') {
      const { gradleCommand, developmentClient, buildType } = job;
      const task = developmentClient ? 'assembleDebug' : buildType === 'apk' ? 'assembleRelease' : 'bundleRelease';
      job.gradle = gradleCommand ?? `:app:${task}`;
      delete job.gradleCommand;
      delete job.buildType;
    }
  }
  return { job, ...rest };
}

const CASES: (Case & { title: string })[] = SHAPES.flatMap(({ shape, files, appRoot, source, profiles }) =>
  profiles.flatMap((profile) =>
    (['ios', 'android'] as const).map((platform) => ({
      ...{ title: `${shape} ${profile} ${platform}`, appRoot, platform, profile },
      files: { ...files, '.gitignore': `${files['.gitignore'] ?? ''}${IGNORED}` },
      easJson: { cli: { appVersionSource: source }, build: PROFILES as Record<string, object> },
    })),
  ),
);

test('there are forty profiles of real shape', () => expect(CASES).toHaveLength(40));

test.each(CASES)('$title: what is said comes true', async ({ title, ...one }) => {
  process.env.EXPO_TOKEN = 'a-token-of-expo';
  const isSigned = one.profile.startsWith('signed');
  const at = (path: string) => (one.appRoot === '.' ? path : `${one.appRoot}/${path}`);
  const own = { ...signing, 'credentials.json': credentials('TinyApp', 'Tiny', 'Tiny Widget') };
  const files = isSigned ? Object.fromEntries(Object.entries(own).map(([path, text]) => [at(path), text])) : {};
  const withToken = { flags: { secretEnv: ['EXPO_TOKEN'] } };
  const { made, lines } = await compare({ ...one, files: { ...one.files, ...files }, ...withToken });
  if (isSigned) expect(made).toMatchObject({ ok: true, value: { engine: 'plugin' } });
  expect(lines.length).toBeGreaterThan(5);
});

const managed = (easJson: EasJson, files: Files = {}): Omit<Case, 'platform' | 'profile'> => ({
  ...{ appRoot: '.', easJson },
  files: { ...managedProject(), '.gitignore': IGNORED, ...files },
});
const profile = (fields: object, cli?: object): EasJson => ({ ...(cli && { cli }), build: { it: fields } });
const REMOTE = { appVersionSource: 'remote' };
const notTheOne = JSON.stringify({ expo: { name: 'x', ios: { bundleIdentifier: 'no id!' } } });

/** The cases that are refused, the message, and the fields that are to blame. */
const REFUSED: [string, Omit<Case, 'platform' | 'profile'>, string, string[]?][] = [
  ['no such profile', { ...managed({ build: { other: {} } }) }, 'has no build profile `it`. It has `other`'],
  ['no eas.json at all', { ...managed({}), easJson: { build: {} } }, 'It has no profiles'],
  ['a circle', managed({ build: { it: { extends: 'b' }, b: { extends: 'it' } } }), 'extends itself'],
  ['a wrong value', managed(profile({ node: '22' })), '`build.it.node` in eas.json must be a whole version'],
  [
    'an unknown image',
    { ...managed(profile({ ios: { image: 'macos-99', simulator: true } })), flags: { image: 'mine' } },
    'asks for the image `macos-99`',
    ['image'],
  ],
  [
    'no credentials for devices',
    managed(profile({ withoutCredentials: true })),
    '`withoutCredentials` for iOS devices',
    ['withoutCredentials'],
  ],
  [
    'a custom build that is missing',
    managed(profile({ config: 'own.yml', ios: { simulator: true } })),
    '`.eas/build/own.yml` is not in the source',
    ['config'],
  ],
  ['remote credentials without a token', managed(profile({ cache: { key: 'a' } })), 'the build has no EXPO_TOKEN'],
  [
    'an environment without a token',
    managed(profile({ environment: 'preview', ios: { simulator: true } })),
    'the build has no EXPO_TOKEN',
  ],
  ['local credentials that are missing', managed(profile({ credentialsSource: 'local' })), 'credentials.json'],
  [
    'a password that does not open',
    managed(profile({}), {
      'dist.p12': 'no p12',
      'app.mobileprovision': 'none',
      'credentials.json': credentials('TinyApp'),
    }),
    'app.mobileprovision',
  ],
  [
    'an id that no store takes',
    managed(profile({ ios: { simulator: true } }), { 'app.json': notTheOne }),
    '`expo.ios.bundleIdentifier` in app.json must have only letters',
  ],
  [
    'a number for an app without an id',
    managed(profile({ autoIncrement: true, credentialsSource: 'local' }, REMOTE), {
      'app.json': '{"expo":{"name":"TinyApp"}}',
      'dist.p12': '',
      'app.mobileprovision': '',
      'credentials.json': credentials('TinyApp'),
    }),
    '',
  ],
  [
    'a lock file that Yarn refuses',
    managed(profile({ ios: { simulator: true } }), { 'yarn.lock': '', '.yarnrc.yml': '' }),
    'yarn.lock',
  ],
  ['no project', { ...managed(profile({ ios: { simulator: true } })), files: { 'a.js': '' } }, 'package.json'],
];

test.each(REFUSED)('refused with the sentence of the build: %s', async (_, one, says, blamed = []) => {
  const { made, lines, text } = await compare({ ...one, platform: 'ios', profile: 'it' });
  expect(made).toMatchObject({ ok: false, problem: expect.stringContaining(says) });
  expect(text).toContain('would be REFUSED');
  const refused = lines.filter((line) => line.type === 'explained_field' && line.fate === 'refused');
  expect(refused.map((line) => (line as Line<'explained_field'>).field)).toEqual(blamed);
});

test('for files at random, it is refused as the agent refuses it, and each value is the one of the whole profile', async () => {
  const files = { ...managedProject(), '.eas/build/x': '', '.gitignore': '' };
  await fc.assert(
    fc.asyncProperty(randomEasJson, async ({ text, platform, name }) => {
      const source = filesOf({ ...files, 'eas.json': text });
      const request = {
        ...{ platform, profile: name, appRoot: '.', originVariables: {}, imageNames: ['mac'], now: new Date(0) },
        ...{ inputs: { env: { EXPO_TOKEN: 't' }, secretNames: [] }, files: source },
      };
      const [said, made] = [await explainBuild(request), await makePlan(request)];
      expect(said.refusal).toBe(made.ok ? null : made.problem);
      expect(said.plan).toEqual(made.ok ? made.value : null);
      const easJson = await readEasJson(source, '.');
      const whole = easJson.ok ? resolveProfile(easJson.value, platform, name, { imageNames: null }) : null;
      if (!easJson.ok || !whole?.ok) return;
      const { env = {}, cache = {}, platform: _, name: __, ...rest } = whole.value;
      const values = Object.fromEntries(
        [...Object.entries({ ...rest, ...inside('env', env), ...inside('cache', cache) })].filter(
          ([, value]) => value !== undefined,
        ),
      );
      const usual = { credentialsSource: 'remote', distribution: 'store' };
      const chain = chainOf(easJson.value, name);
      const origins = originsOf(easJson.value, platform, chain.ok ? chain.value : []);
      expect({ ...usual, ...Object.fromEntries(origins.map(({ field, value }) => [field, value])) }).toEqual(values);
      for (const { path, value, field } of origins) {
        const at =
          field.startsWith('cache.') || path.includes('artifactPath') ? undefined : valueAt(easJson.value, path);
        if (at !== undefined) expect({ path, value }).toEqual({ path, value: at });
      }
    }),
    { numRuns: 200 },
  );
});

const inside = (name: string, fields: object) =>
  Object.fromEntries(Object.entries(fields).map(([key, value]) => [`${name}.${key}`, value]));

const valueAt = ({ profiles }: { profiles: ReadonlyMap<string, object> }, path: string): unknown => {
  const rest = path.slice('build.'.length);
  const name = [...profiles.keys()].find((one) => rest.startsWith(`${one}.`))!;
  const keys = rest.slice(name.length + 1).split('.');
  // biome-ignore lint/suspicious/noExplicitAny: a path of the file
  return keys.reduce((at: any, key) => at?.[key], profiles.get(name));
};

test('a link inside the source stands for what it leads to, as in the archive', async () => {
  using it = project();
  const build = JSON.stringify({ build: { it: { ios: { simulator: true }, node: '22.13.0' } } });
  it.tree.write({ 'shared/eas.json': build, 'shared/yarn.lock': '# yarn lockfile v1\n', '.gitignore': '' });
  const own = Object.entries(managedProject()).map(([path, text]) => [`apps/one/${path}`, text]);
  it.tree.write(Object.fromEntries(own)).link('apps/one/eas.json', '../../shared/eas.json');
  it.tree.link('apps/one/yarn.lock', '../../shared/yarn.lock');
  const one = { ...managed({}), appRoot: 'apps/one', platform: 'ios' as const, profile: 'it' };
  const { build: said } = await explain(join(it.path, 'apps/one'), { ...FLAGS, ...one, root: it.path }, signal);
  const agent = await agentOf(it.dir, one, { env: {}, secretNames: [] });
  const made = await agent.plan();
  expect(made).toMatchObject({ ok: true, value: { tools: [{ version: '22.13.0' }, { name: 'yarn' }] } });
  expect(said?.plan).toEqual(made.ok ? made.value : null);
});

test('the command prints it, hides what looks secret, and exits with 0 or 2', async () => {
  using it = project();
  const build = {
    base: { env: { API_URL: 'https://api.example.com/v1', API_TOKEN: 'geheim', ID: 'a1b2c3d4e5f6a7b8c9' } },
    production: { extends: 'base', autoIncrement: true, resourceClass: 'large', ios: { simulator: true } },
    device: { extends: 'base', ios: { image: 'mine' } },
  };
  const submit = { production: { ios: { ascAppId: '123', appleId: 'a@example.com', language: 'english' } } };
  write(it.path, {
    ...managedProject(),
    'eas.json': JSON.stringify({ cli: { ...REMOTE, requireCommit: true }, build, submit }),
  });
  it.tree.committed();
  const env = { XDG_CONFIG_HOME: it.dir };
  const said = await expoBuild(['explain', it.path, '--submit'], { env });
  expect({ code: said.code, stderr: said.stderr }).toEqual({ code: 0, stderr: '' });
  expect(said.stdout).not.toMatch(/geheim|a1b2c3/);
  for (const part of [
    'Profile production, for iOS, which extends base: would be built.',
    "Expo's local engine builds, without an Expo account: profile `production` is for the simulator",
    'used     env.API_URL = https://api.example.com/v1  (build.base)',
    'used     env.API_TOKEN = (hidden)  (build.base)',
    'ignored  resourceClass = large  (build.production)',
    'ignored  autoIncrement = true  (build.production)',
    'used     simulator = true  (build.production.ios)',
    'ignored  cli.requireCommit = true  (cli)',
    'mapped   cli.appVersionSource = remote  (cli)',
    'Submit profile production, for App Store Connect: is asked for {"store":"app-store-connect","ascAppId":"123","locale":"en-US"}',
    'ignored  language = english  (submit.production.ios)',
    'Stored secrets are not looked at',
  ])
    expect(said.stdout).toContain(part);
  const refused = await expoBuild(['explain', it.path, '--profile', 'device', '--json', '--offline'], { env });
  expect(refused.code).toBe(2);
  const [line, ...rest] = jsonLinesOf(refused);
  expect(line).toMatchObject({
    type: 'explained_build',
    profile: 'device',
    refusal: expect.stringContaining('EXPO_TOKEN'),
  });
  expect(rest).toContainEqual(expect.objectContaining({ type: 'explained_secret', name: 'EXPO_TOKEN', is: 'missing' }));

  write(it.path, { 'expo-build.json': '{"command":"make app","artifacts":["out/*.ipa"]}' });
  const command = await expoBuild(['explain', it.path], { env });
  expect(command).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('  make app\n\nWhat it brings back:\n  out/*.ipa'),
  });
});
