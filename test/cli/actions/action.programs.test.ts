/** Runs action.yml in jobs of GitHub Actions, against a real controller whose builds the test feeds. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BuildDetail } from '#contract';
import { BuildList } from '#contract';
import { project } from '../../client/packing/trees.ts';
import { until } from '../../worker-agent/factories/until.ts';
import { type Feeding, startFeeding } from '../factories/fed-builds.ts';
import { HOSTILE_LOG } from '../factories/hostile-log.ts';
import { GITHUB_JOBS, type GithubJob } from './github-events.ts';
import { type Job, readAction, runAction } from './github-runner.ts';

let farm: Feeding;
beforeAll(async () => {
  farm = await startFeeding();
});
afterAll(() => farm?.[Symbol.asyncDispose]());

/** A job with the checkout of an app, and the inputs that each needs. */
function aJob(name: keyof typeof GITHUB_JOBS) {
  const it = project();
  it.tree.write({
    'package.json': '{"name":"shop"}',
    'eas.json': '{"build":{"production":{"withoutCredentials":true,"ios":{"simulator":true}}}}',
    'src/App.ts': '',
  });
  it.tree.committed();
  const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: it.path, encoding: 'utf8' }).trim();
  const { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: key } = farm.env();
  let jobs = 0;
  const run = (inputs: Record<string, string> = {}, more: Partial<Job> = {}) => {
    const temp = join(it.dir, `temp-${jobs++}`);
    mkdirSync(temp);
    const job: GithubJob = JSON.parse(JSON.stringify(GITHUB_JOBS[name]).replaceAll(HEAD, commit));
    return runAction({ job, inputs: { url, key, ...inputs }, workspace: it.path, temp, ...more });
  };
  return { ...it, url, key, run, commit, [Symbol.dispose]: () => it[Symbol.dispose]() };
}

const builds = async () => (await farm.admin.ask({ method: 'GET', path: '/api/builds', answer: BuildList })).builds;

const HEAD = '4a1f0c7b9d2e3f5061728394a5b6c7d8e9f00112';

test('every kind of event sends a build with its origin, and the job gets id and address', async () => {
  const EVENTS: [name: keyof typeof GITHUB_JOBS, origin: NonNullable<BuildDetail['origin']>][] = [
    ['push', { branch: 'main', author: 'Mona Lisa' }],
    ['tag', { tag: 'v1.2.0' }],
    ['pullRequest', { branch: 'total', pullRequest: 12 }],
    ['mergeGroup', { branch: `gh-readonly-queue/main/pr-12-${'f'.repeat(40)}` }],
    ['dispatch', { branch: 'main' }],
  ];
  for (const [name, origin] of EVENTS) {
    using it = aJob(name);
    const args = '--group pull request 12\n--cancel-superseded\n\n--label=a=b c';
    const { outcome, outputs, log } = await it.run({ wait: 'false', platform: 'android', args });
    expect({ name, outcome, log }).toMatchObject({ outcome: 'success' });
    const build = await farm.api.build(outputs.id!);
    expect({ name, origin: build.origin }).toMatchObject({
      origin: { ...origin, commit: it.commit, repository: 'github.com/acme/shop' },
    });
    expect(build).toMatchObject({ platform: 'android', group: 'pull request 12', labels: { a: 'b c' }, trusted: true });
    const url = `${it.url}/api/builds/${build.id}`;
    expect(outputs).toEqual({ ...{ id: build.id, url, status: 'queued' }, ...NONE });
  }
});

const NONE = { verdict: '', 'artifact-path': '', 'install-url': '' };

test('the job of a stranger without a key ends well with a sentence; any other one without a key fails', async () => {
  const before = (await builds()).length;
  for (const [name, env] of [
    ['fork', {}],
    ['pullRequest', { GITHUB_ACTOR: 'dependabot[bot]' }],
  ] as const) {
    using it = aJob(name);
    const { outcome, outputs, commands, summary } = await it.run({ key: '' }, { env });
    expect({ outcome, outputs }).toEqual({
      outcome: 'success',
      outputs: { ...NONE, status: 'skipped', id: '', url: '' },
    });
    expect(commands).toMatchObject([
      { name: 'notice', data: expect.stringMatching(/^Nothing is built: this job is of /) },
    ]);
    expect(summary).toContain('Nothing is built');
  }
  using it = aJob('push');
  const { outcome, exitCode, commands } = await it.run({ key: '' });
  expect({ outcome, exitCode }).toEqual({ outcome: 'failure', exitCode: 2 });
  expect(commands).toMatchObject([{ name: 'error', data: /^The input key is empty/ }]);
  expect((await builds()).length).toBe(before);
});

test('the source of a fork is never trusted, and no text of an input is read as a script or as another option', async () => {
  using it = aJob('forkWithSecrets');
  const { outputs, commands, log } = await it.run({ wait: 'false' });
  expect(await farm.api.build(outputs.id!)).toMatchObject({ trusted: false });
  expect(commands).toEqual([{ name: 'add-mask', properties: {}, data: it.key }]);
  expect(log).not.toContain(it.key);

  const evil = `"; touch '${it.dir}/ran'; $(touch ${it.dir}/ran) \`touch ${it.dir}/ran\` #`;
  for (const [input, value, words] of [
    ['profile', evil, /has no build profile/],
    ['wait', 'yes', /The input wait is yes\. Give true or false\./],
    ['args', `--group x\n${evil}`, /The input args has the line/],
    ['cli', evil, /The input cli must be the https address or the path of a \.tgz file/],
  ] as const) {
    const ended = await it.run({ wait: 'false', [input]: value });
    expect({ input, value, exitCode: ended.exitCode }).toEqual({ input, value, exitCode: 2 });
    expect(ended.commands.find(({ name }) => name === 'error')?.data).toMatch(words);
  }
  expect(existsSync(join(it.dir, 'ran'))).toBe(false);
});

test('a runner with an old Node gets Node 24 by the action that GitHub has for it', async () => {
  using it = aJob('fork');
  const old = join(it.dir, 'bin');
  mkdirSync(old);
  writeFileSync(join(old, 'node'), '#!/bin/sh\necho 20');
  chmodSync(join(old, 'node'), 0o755);
  const setUp = expect.stringMatching(/^actions\/setup-node@[0-9a-f]{40}$/);
  for (const [path, used] of [
    [old, [setUp]],
    [dirname(process.execPath), []],
  ] as const) {
    const ended = await it.run({ key: '' }, { env: { PATH: `${path}:/usr/bin:/bin` } });
    expect(ended).toMatchObject({ used, outputs: { status: 'skipped' } });
  }
});

/** Claims and begins the build that a job has submitted into the pool. */
async function begun(worker: Awaited<ReturnType<Feeding['newWorker']>>) {
  let id: string | undefined;
  await until(async () => {
    id = (await builds()).find(({ pool }) => pool === worker.pool)?.id;
    return id !== undefined;
  }, 'the build of the job');
  const attempt = await worker.claims(id!);
  await attempt.starts();
  return { id: id!, attempt };
}

test('a failed build is explained at its line; nothing that it says is obeyed, becomes an output or a tag', async () => {
  using it = aJob('pullRequest');
  const worker = await farm.newWorker();
  const job = it.run({ args: `--pool ${worker.pool}` });
  const { id, attempt } = await begun(worker);
  await attempt.prints(`Analyzing dependencies\n${HOSTILE_LOG}`);
  const line = '/Users/admin/.tartbeat/x/source/src/App.ts:3:7: error: ##[set-output name=id]evil';
  const explained = { id: 'x', sentence: '::error::x <b>', advice: '##[add-matcher]x', line };
  await attempt.fails({ message: '::set-output name=id::evil', step: '##[add-path]x', explained });
  const { outcome, exitCode, outputs, commands, summary } = await job;
  expect({ outcome, exitCode, outputs }).toEqual({
    ...{ outcome: 'failure', exitCode: 1 },
    outputs: { ...NONE, id, url: `${it.url}/api/builds/${id}`, status: 'failed', verdict: 'build_failed' },
  });
  const obeyed = commands.filter(({ name }) => !['group', 'endgroup', 'stop-commands'].includes(name));
  expect(obeyed).toEqual([
    { name: 'add-mask', properties: {}, data: it.key },
    {
      name: 'error',
      properties: { title: 'ios: The build command failed', file: 'src/App.ts', line: '3', col: '7' },
      data: `::error::x <b>\n##[add-matcher]x\nThe log says: ${line}\nBuild ${id}.`,
    },
  ]);
  const groups = commands.filter(({ name }) => name === 'group').map(({ data }) => data);
  expect(groups).toContain('Installing pods');
  expect(summary).toContain('::error::x &lt;b&gt;');
  expect(summary).toContain('❌ iOS, production: The build command failed');
});

const APP = {
  ...{ platform: 'ios' as const, kind: 'ipa' as const, id: 'com.example.shop', name: 'Shop', version: '1.4.0' },
  ...{ buildNumber: '42', minimumSystem: '16.0', signing: 'ad-hoc' as const, devices: 2 },
  ...{ profileExpiresAt: '2030-01-01T00:00:00.000Z', usesNonExemptEncryption: false, debuggable: null, icon: null },
};

test('a build that succeeds leaves its app on the runner, and its install page in an output and in the summary', async () => {
  using it = aJob('push');
  const worker = await farm.newWorker();
  const job = it.run({ args: `--pool ${worker.pool}`, artifacts: 'out/*', 'install-link': 'true' });
  const { attempt } = await begun(worker);
  await attempt.prints('done\n');
  await attempt.succeeds({ 'out/Shop.ipa': 'ipa' }, APP);
  const { outcome, outputs, commands, summary } = await job;
  expect({ outcome, status: outputs.status, verdict: outputs.verdict }).toEqual({
    ...{ outcome: 'success', status: 'succeeded', verdict: '' },
  });
  expect(readFileSync(outputs['artifact-path']!, 'utf8')).toBe('ipa');
  expect(outputs['install-url']).toMatch(/\/i\/[\w-]{43}$/);
  expect(await (await fetch(outputs['install-url']!)).text()).toContain('Shop');
  expect(summary).toContain(`<a href="${outputs['install-url']}">`);
  expect(summary).toMatch(/<pre>.*▀.*<\/pre>/);
  expect(commands.filter(({ name }) => name === 'error')).toEqual([]);
});

test('a job that is cancelled cancels its build', async () => {
  using it = aJob('push');
  const worker = await farm.newWorker();
  let cancel = () => {};
  const cancelled = new Promise<void>((resolve) => {
    cancel = resolve;
  });
  const job = it.run({ args: `--pool ${worker.pool}` }, { cancelled });
  const { id, attempt } = await begun(worker);
  await until(async () => (await attempt.prints('.\n')) > 0, 'the job to follow the log');
  cancel();
  expect(await job).toMatchObject({ outcome: 'failure', exitCode: 3, outputs: { id, status: 'cancelled' } });
  expect(await farm.api.build(id)).toMatchObject({ status: 'cancelled' });
});

test('action.yml uses inputs in no script, and its documents name all its inputs and outputs', () => {
  const { inputs, outputs, runs } = readAction();
  for (const { run = '' } of runs.steps) expect(run).not.toContain('${{');
  const page = readFileSync(join(import.meta.dirname, '../../../docs/github-actions.md'), 'utf8');
  const rows = [...page.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, names]) => names!.replaceAll('`', '').split(', '));
  expect(rows.toSorted()).toEqual([...Object.keys(inputs), ...Object.keys(outputs)].toSorted());
});
