/** Takes a folder to its artifacts with one command, on a whole farm. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { JsonLine } from '../../../cli/json-lines/json-lines.ts';
import { startFarm } from '../../../local/farm/farm.ts';
import { project } from '../../client/packing/trees.ts';
import { testWith } from '../../set-up/test-with.ts';
import { GITHUB_JOBS } from '../actions/github-events.ts';
import { runAction } from '../actions/github-runner.ts';
import { jsonLinesOf } from '../factories/expo-build.ts';
import { HOSTILE_LOG } from '../factories/hostile-log.ts';
import { expoBuildProcess, startOnTerminal } from '../factories/started.ts';

const test = testWith('script');

test('login and submit bring the artifact to the disk, again without an upload, for both platforms, on a terminal, and in a job of GitHub Actions', async () => {
  using it = project();
  await using farm = await startFarm({ config: { platforms: ['ios', 'android'] } });
  const { url, secrets } = farm.controller;
  const settings = join(it.dir, 'config');
  const env = { XDG_CONFIG_HOME: settings, TMPDIR: it.dir };
  const { path: cwd } = it;
  const run = (args: string[], input = '') => expoBuildProcess(args, { cwd, env, input });
  it.tree.write({
    'build.sh':
      'git status --porcelain --branch && git log --format=%s && mkdir -p dist && cp name.txt dist/app.txt && wc -c <key && echo "made with $COLOUR and $TOKEN" && cat /dev/null $SAYS',
    'hostile.log': HOSTILE_LOG,
    'name.txt': 'Shop',
    '.gitignore': 'key\n',
    key: '0123456789',
    'expo-build.json': '{ "command": "bash build.sh", "artifacts": ["dist/*.txt"], "secretFiles": ["key"] }',
    'package.json': '{}',
  });
  it.tree.committed();

  const login = await run(['login', '--url', url, '--key-stdin'], secrets.ADMIN_KEY);
  expect(login.code, login.stderr).toBe(0);
  process.env.TOKEN = 'secret-token-of-this-test';
  const first = await run(['submit', '--with-git', '--env', 'COLOUR=red', '--secret-env', 'TOKEN']);
  delete process.env.TOKEN;
  expect(first.code, first.stdout + first.stderr).toBe(0);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: there must be none without a terminal
  expect(first.stdout + first.stderr).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
  expect(first.stdout).toContain('## main\nfirst\n10\nmade with red and ***\n');
  expect(first.stdout).not.toContain('secret-token');
  const [id] = /b_[a-z0-9]+/.exec(first.stderr)!;
  expect(readFileSync(join(cwd, `expo-build-${id}/app.txt`), 'utf8')).toBe('Shop');

  const both = await run(['submit', '--with-git', '--json', '--platform', 'all', '--to', join(it.dir, 'out')]);
  expect(both.code, both.stderr).toBe(0);
  const ofType = <Type extends JsonLine['type']>(type: Type) =>
    jsonLinesOf(both).filter((line): line is Extract<JsonLine, { type: Type }> => line.type === type);
  expect(ofType('uploaded')).toMatchObject([{ sentBytes: 0 }]);
  const builds = ofType('submitted').map(({ build }) => build);
  expect(builds.map(({ platform }) => platform)).toEqual(['ios', 'android']);
  for (const { path } of ofType('artifact')) expect(readFileSync(path!, 'utf8')).toBe('Shop');
  // Each line of a build says of which.
  for (const lines of [ofType('artifact'), ofType('log'), ofType('progress')])
    expect(new Set(lines.map(({ buildId }) => buildId))).toEqual(new Set(builds.map(({ id }) => id)));
  expect(ofType('artifact')).toHaveLength(2);
  expect(ofType('end')).toMatchObject([{ builds: builds.map(({ id }) => ({ buildId: id, exitCode: 0 })) }]);

  using submit = startOnTerminal(['submit', '--with-git', '--to', 'expo-build-b_0'], { cwd, env });
  expect(await submit.ended, submit.stdout()).toBe(0);
  expect(submit.screen()).toContain('Unchanged since the last upload: 0 bytes sent.');
  expect(readFileSync(join(cwd, 'expo-build-b_0/app.txt'), 'utf8')).toBe('Shop');

  const temp = join(it.dir, 'temp');
  mkdirSync(temp);
  const inputs = { url, key: secrets.ADMIN_KEY, args: '--with-git\n--env SAYS=hostile.log' };
  const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd, encoding: 'utf8' }).trim();
  const push = { ...GITHUB_JOBS.push, env: { ...GITHUB_JOBS.push.env, GITHUB_SHA: commit } };
  const job = await runAction({ job: push, inputs, workspace: cwd, temp });
  expect(job, job.log).toMatchObject({ outcome: 'success', outputs: { status: 'succeeded' } });
  expect(readFileSync(job.outputs['artifact-path']!, 'utf8')).toBe('Shop');
  expect(job.log).toContain('the end\n');
  const ours = /^(add-mask|stop-commands|group|endgroup)$/;
  expect(job.commands.filter(({ name }) => !ours.test(name))).toEqual([]);
  const ofEvent = { branch: 'main', url: expect.stringContaining('/actions/runs/') };
  expect(await farm.api.build(job.outputs.id!)).toMatchObject({ origin: { ...ofEvent, commit } });

  expect(readdirSync(it.dir).filter((name) => name.startsWith('expo-build-'))).toEqual([]);
});
