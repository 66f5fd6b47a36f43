/** Tests what `submit` sends, against a real controller without a Mac. farm/submit.test.ts builds it. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CommanderError } from 'commander';
import { expect, test } from 'vitest';
import { CommandError } from '../../cli/command-error.ts';
import { submitCommand } from '../../cli/commands/project/submit.ts';
import { EXIT } from '../../cli/exit-codes.ts';
import type { Interrupts } from '../../cli/interrupts.ts';
import { AdminClient } from '../../client/admin-client.ts';
import { valueOrThrow } from '../../client/answer.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { SourceError } from '../../client/packing/source-error.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import type { Tree } from '../client/packing/trees.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { faultyProxy } from '../worker-agent/servers/faulty-proxy.ts';
import { idsIn, ofType, submitting } from './factories/app-to-submit.ts';
import { expoBuild, jsonLinesOf } from './factories/expo-build.ts';

const { controller, api, call, app } = await submitting();

test('a profile is sent as the flags, eas.json, expo-build.json and git say, and an unchanged tree not at all', async () => {
  using it = app((tree) =>
    tree.write({
      '.gitignore': '.env.local\n*.p12\n',
      '.env.local': 'A=1',
      'expo-build.json': '{ "project": "shop", "secretFiles": [".env.local"] } // by init',
    }),
  );
  it.tree.git('remote', 'add', 'origin', 'git@github.com:acme/shop.git');
  const first = await it.run(
    [
      ...['--no-wait', '--profile', 'sim', '--env', 'API=https://a.example/?b=c', '--secret-env', 'TOKEN'],
      ...['--priority', '7', '--label', 'a=b', '--group', 'pr-1', '--cancel-superseded', '--after-failure', 'keep=30m'],
      ...['--timeout', 'build=90m', '--max-attempts', '2', '--artifact', '*.log', '--image', 'xcode-26'],
    ].concat('--json'),
    { TOKEN: 'secret-of-the-build' },
  );
  expect(first.code, first.stderr).toBe(0);
  expect(first.stderr).toMatch(
    /^Sealed: \.env\.local\nPacked 5 files, \d+ B compressed\. \d+ B sent\.\n! There is no project shop\. .*\nb_\w+: ios, profile sim of eas\.json\. http:/,
  );
  const [{ build } = { build: null }] = ofType(first, 'submitted');
  expect(await api.build(build!.id)).toMatchObject({
    ...{ project: 'shop', platform: 'ios', profile: 'sim', command: null, priority: 7, labels: { a: 'b' } },
    ...{ group: 'pr-1', maxAttempts: 2, image: 'xcode-26', timeouts: { buildTimeoutMs: 5_400_000 } },
    artifactGlobs: [{ glob: '*.log', required: true }],
    origin: { repository: 'github.com/acme/shop', branch: 'main', dirty: false, message: 'first' },
  });
  expect(ofType(first, 'uploaded')[0]!.sentBytes).toBeGreaterThan(0);
  expect(ofType(first, 'secret_file')).toMatchObject([{ path: '.env.local', namedBy: 'expo-build.json' }]);
  expect(first.stdout + first.stderr).not.toContain('secret-of-the-build');

  const again = await it.run(['--no-wait']);
  expect(again.stderr).toContain('Unchanged since the last upload: 0 bytes sent.');
  expect(again.stderr).toContain('ios, profile production of eas.json (no --profile was given)');
  expect(again.stdout).toMatch(/^b_\w+ http:\/\/127\.0\.0\.1:\d+\/api\/builds\/b_\w+\n$/);
  expect((await api.build(idsIn(again)[0]!)).source.sha256).toBe(build!.source.sha256);
  expect(readdirSync(it.tmp)).toEqual([]);
});

test('a command runs in the folder of the app, and `all` makes two builds of one upload', async () => {
  using it = app((tree) => tree.write({ 'apps/shop/expo-build.json': '{"command":"make","artifacts":["dist"]}' }));
  const all = await it.run([
    'apps/shop',
    '--no-wait',
    '--json',
    '--platform',
    'all',
    '--group',
    'g',
    '--cancel-superseded',
  ]);
  expect(all.code, all.stderr).toBe(0);
  expect(ofType(all, 'uploaded')).toHaveLength(1);
  const builds = ofType(all, 'submitted').map(({ build }) => build);
  expect(builds).toMatchObject(
    ['ios', 'android'].map((platform) => ({
      ...{ platform, profile: null, command: "cd 'apps/shop' || exit\nmake", group: `g-${platform}`, status: 'queued' },
      artifactGlobs: [{ glob: 'apps/shop/dist' }],
    })),
  );
  const given = await it.run(['apps/shop', '--no-wait', '--command', 'ls', '--artifact', 'a', '--artifact', 'b']);
  expect(await api.build(idsIn(given)[0]!)).toMatchObject({
    command: "cd 'apps/shop' || exit\nls",
    artifactGlobs: [{ glob: 'apps/shop/a' }, { glob: 'apps/shop/b' }],
  });
});

test('`all` makes both builds or none', async () => {
  using it = app((tree) => tree.write({ 'a.js': 'a' }));
  await call('POST', '/api/projects', { name: 'narrow' });
  await call('PATCH', '/api/projects/narrow', { maxQueuedUntrusted: 1 });
  const one = await it.run(['--no-wait', '--json', '--platform', 'all', '--project', 'narrow', '--untrusted']);
  expect(one.code).toBe(2);
  expect(jsonLinesOf(one).slice(-3)).toMatchObject([
    { type: 'submitted', build: { platform: 'ios', status: 'queued' } },
    { type: 'build', build: { platform: 'ios', status: 'cancelled' } },
    { type: 'error', exitCode: 2 },
  ]);
  const [, first] = /^(b_\w+): ios, /m.exec(one.stderr)!;
  expect(one.stderr).toMatch(new RegExp(`^${first} was cancelled again\\.\nexpo-build: (?!.*too_many)`, 'm'));
  expect(await api.build(first!)).toMatchObject({ status: 'cancelled', trusted: false });
  const narrow = ['--no-wait', '--project', 'narrow', '--untrusted', '--idempotency-key'];
  const earlier = idsIn(await it.run([...narrow, 'run-1-ios']))[0]!;
  const second = await it.run([...narrow, 'run-1', '--platform', 'all']);
  expect(second.stderr).toMatch(
    new RegExp(`^${earlier}: .* It was there before, under the name run-1\\.\nexpo-build: `, 'm'),
  );
  expect([second.code, (await api.build(earlier)).status]).toEqual([2, 'queued']);
  await api.cancel(earlier);
  const third = await it.run([...narrow, 'run-2', '--platform', 'all']);
  expect(third.stderr).toMatch(/was cancelled again\.\nThe name run-2 stands for what was cancelled\. Give another/);
});

test('--with-git brings a .git in which the build sees its commit, and an unchanged source is not sent again', async () => {
  using it = app((tree) => tree.write({ 'a.js': 'a' }));
  it.tree.git('remote', 'add', 'origin', 'https://somebody:ghp_password@github.com/acme/shop.git');
  const { worker, key } = await new AdminClient(api.connection).registerWorker({ name: 'mac-of-git', pool: 'git' });
  const args = ['--no-wait', '--json', '--command', 'git describe', '--pool', 'git', '--with-git=3'];
  const first = await it.run(args);
  expect(first.code, first.stderr).toBe(0);
  expect(first.stderr).toContain('With at most 3 commits in .git: ');
  const again = await it.run(args);
  expect(ofType(again, 'uploaded')).toMatchObject([{ sentBytes: 0 }]);
  const mac = new WorkerClient(api.connection.withKey(key!));
  const { assignment } = valueOrThrow(await mac.claim(worker.id, { instanceId: 'mac', claimId: 'git' }), 'claim');
  const { buildId, tokens, source } = assignment!;
  const target = { path: join(it.tmp, 'source'), sha256: source.sha256, sizeBytes: source.size };
  const attempt = new AttemptClient(api.connection.withKey(tokens.run));
  valueOrThrow(await attempt.downloadSource(buildId, target), 'download');
  const vm = join(it.dir, 'vm');
  mkdirSync(vm);
  execFileSync('tar', ['-xf', target.path, '-C', vm]);
  const git = (cwd: string, ...words: string[]) => execFileSync('git', words, { cwd, encoding: 'utf8' });
  expect(git(vm, 'rev-parse', 'HEAD')).toBe(git(it.path, 'rev-parse', 'HEAD'));
  expect(git(vm, 'status', '--porcelain')).toBe('');
  expect(git(vm, 'remote')).toBe('');
});

test('answers that get lost and a controller that is away make one upload and one build', async () => {
  using it = app();
  await using proxy = await faultyProxy(controller.url);
  proxy.fault = ({ count }) => (count === 1 ? 'refuse' : count === 2 ? 'lose answer' : undefined);
  const ended = await it.run(['--no-wait', '--json', '--label', 'test=lost'], it.env(proxy.url));
  expect(ended.code, ended.stderr).toBe(0);
  expect(proxy.requests.filter((one) => one === 'POST /api/builds')).toHaveLength(3);
  expect(ended.stderr).toMatch(/^The controller is not reached \(.+\)\. Waiting for it\.$/m);
  const reached = ofType(ended, 'connection').map((one) => one.reached);
  expect(reached.slice(0, 2)).toEqual([false, true]);
  expect(reached.at(-1)).toBe(true);
  const { builds } = await api.list({ limit: '100' });
  expect(builds.filter(({ labels }) => labels.test === 'lost').map(({ id }) => id)).toEqual(
    ofType(ended, 'submitted').map(({ build }) => build.id),
  );
});

test('a key that is revoked after the upload ends with a sentence, and leaves no build', async () => {
  using it = app();
  const rights = { projects: ['late'], pools: ['default'], trusted: true, may: [] };
  await call('POST', '/api/projects', { name: 'late' });
  const { secret, key } = await call('POST', '/api/keys', { name: 'late', scope: 'submit', ...rights });
  await using proxy = await faultyProxy(controller.url);
  const revoked = Promise.withResolvers<unknown>();
  let dropsTheRequest = false;
  proxy.fault = ({ method, count }) => {
    if (method !== 'POST' || !dropsTheRequest) return undefined;
    if (count === 2) revoked.resolve(call('DELETE', `/api/keys/${key.id}`));
    return count === 2 ? 'refuse' : undefined;
  };
  // The only project that the key reaches needs no name.
  const early = await it.run(['--no-wait'], it.env(proxy.url, secret));
  expect(await api.build(idsIn(early)[0]!)).toMatchObject({ project: 'late' });
  await api.cancel(idsIn(early)[0]!);
  it.tree.write({ 'new.js': '' });
  dropsTheRequest = true;
  const ended = await it.run(['--no-wait'], it.env(proxy.url, secret));
  await revoked.promise;
  expect(ended.code).toBe(2);
  expect(ended.stderr).toMatch(/^expo-build: the key .* Run `expo-build login`/m);
  expect((await api.list({ project: 'late' })).builds).toHaveLength(1);
});

test('what would be refused on the Mac is not sent, unless stored secrets may mend it', async () => {
  const expo = { name: 'Shop', ios: { bundleIdentifier: 'com.example.shop' }, extra: { eas: { projectId: 'p' } } };
  const eas = { build: { production: { ios: { simulater: true } }, sim: { ios: { simulator: true } } } };
  using it = app((tree) => tree.write({ 'app.json': JSON.stringify({ expo }), 'eas.json': JSON.stringify(eas) }));
  const project = 'refused';
  const may = ['secrets.set', 'secrets.use'];
  await call('POST', '/api/projects', { name: project });
  const { secret } = await call('POST', '/api/keys', { name: 'ci', scope: 'submit', projects: [project], may });
  const env = it.env(controller.url, secret);
  const refused = await it.run(['--no-wait', '--json', '--env', 'A=b'], env);
  expect(refused.code, refused.stderr).toBe(2);
  expect(jsonLinesOf(refused)).toMatchObject([
    { type: 'warning', code: 'unknown_field', path: 'eas.json', message: expect.stringContaining('`simulator` may') },
    { type: 'error', exitCode: 2, message: expect.stringMatching(/^The profile "production" needs Expo's servers/) },
  ]);
  expect(refused.stderr).toContain('! eas.json: has fields that are not known');
  // `submit` says what `explain` says.
  const explained = await expoBuild(['explain'], { cwd: it.path, env });
  expect(explained.stdout).toContain('The profile "production" needs Expo\'s servers');
  expect(explained.stdout).toMatch(/Look at these:\n {2}eas\.json has fields that are not known/);

  // A key of all projects builds in `default`, so nobody asks which one.
  for (const command of ['explain', 'init']) {
    const said = await expoBuild([command], { cwd: it.path, env: it.env() });
    expect(said.stdout).not.toMatch(/--project|several projects/);
  }

  expect((await it.run(['--no-wait', '--secret-env', 'EXPO_TOKEN'], { ...env, EXPO_TOKEN: 't' })).code).toBe(0);
  // Secrets are stored only for a pool with a trusted Mac.
  await new AdminClient(api.connection).registerWorker({ name: 'mac-of-secrets' });
  const set = await expoBuild(['secrets', 'set', 'EXPO_TOKEN'], { cwd: it.path, env, input: 'a token' });
  expect(set.code, set.stderr).toBe(0);
  const sent = await it.run(['--no-wait'], env);
  expect(sent.code, sent.stderr).toBe(0);
  expect((await it.run(['--no-wait', '--untrusted'], env)).stderr).toContain('has no EXPO_TOKEN');
  it.tree.write({ 'package.json': '{' });
  const broken = await it.run(['--no-wait', '--profile', 'sim'], env);
  expect([broken.code, broken.stdout]).toEqual([2, '']);
  expect(broken.stderr).toContain('package.json is not valid JSON');
  expect(readdirSync(it.tmp)).toEqual([]);
});

test('what cannot be sent is said before anything is, with the file or the flag and the fix', async () => {
  // Nobody listens at this address.
  const nowhere = { EXPO_BUILD_URL: 'http://127.0.0.1:1', EXPO_BUILD_KEY: 'tb_submit_x' };
  using full = temporaryDir();
  for (const path of ['App.ipa', 'a/log.txt', 'all/android/app-release.aab']) {
    mkdirSync(dirname(join(full.path, path)), { recursive: true });
    writeFileSync(join(full.path, path), '');
  }
  const cases: [change: (tree: Tree) => unknown, args: string[], says: RegExp][] = [
    [NOTHING, ['--profile', 'prod'], /eas\.json has no build profile `prod`. It has `production`, `sim`/],
    [(tree) => tree.write({ 'eas.json': '{' }), [], /eas\.json is not valid JSON at line 1/],
    [(tree) => tree.remove('eas.json'), [], /eas build:configure`, or give `--command COMMAND --artifact GLOB`/],
    [NOTHING, ['--profile', 'sim', '--command', 'ls'], /two ways to say what is built/],
    [NOTHING, ['--priority', '101'], /^--priority: must be at most 100\.$/],
    [NOTHING, ['--priority', 'high'], /--priority: high is no whole number\. Give one such as 5/],
    [NOTHING, ['--env', 'A'], /--env A: write a name, = and a value/],
    [NOTHING, ['--env', '9A=1'], /--env 9A: must be a shell variable name/],
    [NOTHING, ['--secret-env', 'A=1'], /--secret-env takes a name alone. Set the variable A/],
    [NOTHING, ['--secret-env', 'NOT_THERE'], /--secret-env NOT_THERE: there is no such variable here/],
    [NOTHING, ['--after-failure', '30m'], /Give keep=TIME, such as keep=30m/],
    [NOTHING, ['--after-failure', 'keep=5s'], /^`--after-failure keep=5s` is too short\. Give at least 1m\.$/],
    [NOTHING, ['--timeout', 'boot=1s'], /^`--timeout boot=1s` is too short\. Give at least 20s\.$/],
    [
      NOTHING,
      ['--timeout', 'biuld=1h'],
      /^`--timeout biuld` is not known\. Give one of heartbeat, .*, queue, such as build=90m\.$/,
    ],
    [NOTHING, ['--cancel-superseded'], /--cancel-superseded: needs a group/],
    [NOTHING, ['--after-failure', 'keep=25h'], /^`--after-failure keep=25h` is too long\. Give at most 24h\.$/],
    [NOTHING, ['--command', 'ls', '--artifact', '/x'], /^--artifact \/x leads out of the source/],
    [NOTHING, ['--artifact', '../../a'], /--artifact \.\.\/\.\.\/a leads out of the source/],
    [NOTHING, ['--to', full.path], /App\.ipa is there already, and a download replaces no file\. Remove it, or/],
    [NOTHING, ['--platform', 'all', '--to', join(full.path, 'all')], /all\/android\/app-release\.aab is there already/],
    [NOTHING, ['--to', join(full.path, 'a'), '--artifact', 'dist/log.txt'], /a\/log\.txt is there already/],
    [NOTHING, ['--to', join(full.path, 'a/log.txt')], /log\.txt is no folder/],
    [NOTHING, ['--upload', '--submit-profile', 'x'], /no submit profile `x`/],
    [
      (tree) => tree.write({ 'eas.json': namesKey('ascApiKeyId') }),
      ['--upload'],
      /^`submit\.production\.ios\.ascApiKeyId` in eas\.json must not be empty, but the value of "\$EXPO_BUILD_KEY" here/,
    ],
    [NOTHING, ['--with-git=0'], /--with-git 0: give the number of commits with =, such as --with-git=50/],
    [NOTHING, ['--fingerprint', 'main'], /^--fingerprint: must be a hash of @expo\/fingerprint/],
    [NOTHING, ['--plaform', 'ios'], /unknown option '--plaform'/],
    [(tree) => tree.write({ 'expo-build.json': '{"url":"https://evil.example"}' }), [], /never come from a project/],
    [(tree) => tree.link('hosts', '/etc/hosts'), [], /"hosts → \/etc\/hosts" is a link that leads out of/],
    [
      (tree) => tree.write({ 'a\nb': '' }).write({ [`${'x'.repeat(120)}\n`]: '' }),
      [],
      /has a line break in it. Rename/,
    ],
    [
      (tree) => tree.write({ '.gitattributes': '*.bin filter=lfs\n', 'a.bin': LFS_POINTER }),
      [],
      /pointer of Git LFS .* `git lfs install && git lfs pull`/,
    ],
  ];
  using plain = app();
  for (const [change, args, says] of cases) {
    using changed = String(change) === String(NOTHING) ? null : app(change);
    const it = changed ?? plain;
    // In this process, because two dozen processes take long.
    const refusal = await withVariables({ ...it.env(), ...nowhere }, () =>
      submitCommand(NOBODY_INTERRUPTS)
        .exitOverride()
        .configureOutput({ writeErr: () => {} })
        .parseAsync([it.path, '--project', 'shop', ...args], { from: 'user' })
        .catch((error: Error) => error),
    );
    expect(refusal, args.join(' ')).toSatisfy(isOfUsage);
    expect((refusal as Error).message, args.join(' ')).toMatch(says);
    expect(readdirSync(it.tmp)).toEqual([]);
  }
  const { code, stdout, stderr } = await plain.run(['--profile', 'prod', '--json'], nowhere);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^expo-build: eas\.json has no build profile `prod`/);
  expect(jsonLinesOf({ code, stdout, stderr })).toMatchObject([{ type: 'error', exitCode: 2 }]);
});

const NOTHING = (tree: Tree) => tree;
const namesKey = (field: string) =>
  JSON.stringify({ build: { production: {} }, submit: { production: { ios: { [field]: '$EXPO_BUILD_KEY' } } } });
const isOfUsage = (error: unknown) =>
  error instanceof SourceError ||
  error instanceof CommanderError ||
  (error instanceof CommandError && error.exitCode === EXIT.usage);
const NOBODY_INTERRUPTS = { signal: new AbortController().signal } as Interrupts;

async function withVariables<T>(variables: NodeJS.ProcessEnv, work: () => Promise<T>): Promise<T> {
  const before = { ...process.env };
  Object.assign(process.env, variables);
  try {
    return await work();
  } finally {
    for (const name of Object.keys(variables))
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
  }
}

const LFS_POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 1\n`;

test('a file that is written while it is packed is named, and nobody is sent half of it', async () => {
  using it = app((tree) => tree.write({ 'growing.log': 'x'.repeat(30_000_000) }));
  const writing = setInterval(() => appendFileSync(join(it.path, 'growing.log'), 'x'), 1);
  try {
    const { code, stderr } = await it.run([]);
    expect(stderr).toMatch(/^expo-build: "growing\.log" changed while it was packed, so nothing was sent/m);
    expect({ code, left: readdirSync(it.tmp) }).toEqual({ code: 2, left: [] });
  } finally {
    clearInterval(writing);
  }
});
