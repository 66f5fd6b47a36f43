/** Tests `expo-build watch` and `logs` without a terminal, against a real controller that the test feeds. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type GithubCommands, heard } from '../actions/github-commands.ts';
import { expoBuild, jsonLinesOf } from '../factories/expo-build.ts';
import { type SharedFeeding, sharedFeeding } from '../factories/fed-builds.ts';
import { HOSTILE_LOG, HOSTILE_LOG_SHOWN } from '../factories/hostile-log.ts';
import { start } from '../factories/started.ts';

let farm: SharedFeeding;
beforeAll(async () => {
  farm = await sharedFeeding();
});
afterAll(() => farm?.[Symbol.dispose]());

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/;

test('a pipe gets the log as plain text, what happens in sentences, and the exit code of success', async () => {
  const { id, claims } = await farm.queuedBuild();
  using watch = start(['watch', id], { env: farm.env() });
  await watch.shows('expo-build: It is in the queue.');
  await watch.shows('expo-build: It waits for a worker of pool');
  const attempt = await claims();
  await attempt.starts();
  await attempt.prints('\x1b[31mred\x1b[0m\r\n10 %\r20 %\n');
  // A sentence of ours ends an unfinished line.
  await watch.shows('20 %');
  await watch.shows('It builds.');
  await attempt.prints('half of a ');
  await attempt.prints('line\n\x1b]0;title\x07no end');
  await watch.shows('half of a line');
  await attempt.beats({ phase: 'install-pods' });
  const { stdout: status } = await expoBuild(['status', id], { env: farm.env() });
  expect(status).toMatch(/^last beats +VM .* ago, Mac .* ago$/m);
  expect(status).toMatch(/^next deadline +\w+ in .+$/m);
  expect(status).toMatch(/^attempt 1 +on w_\w+$/m);
  await attempt.succeeds({ 'dist/app.ipa': 'ipa' });
  expect(await watch.ended).toBe(0);
  expect(watch.stderr()).toBe('');
  expect(watch.stdout()).not.toMatch(CONTROLS);
  expect(watch.stdout()).toContain('\nred\n10 %\n20 %\n');
  expect(watch.stdout()).toContain('\nhalf of a line\nno end\n');
  expect(watch.stdout()).toContain('Artifact dist/app.ipa\n');
});

test('the verdict: title, explanation, advice and the words of the log, with the exit code of its kind', async () => {
  const { id, claims } = await farm.queuedBuild();
  const attempt = await claims();
  await attempt.starts();
  await attempt.prints('one\n');
  const explained = { id: 'x', sentence: 'A pod is missing.', advice: 'Install it.', line: '[!] no pod `A`' };
  await attempt.fails({ exitCode: 65, explained });
  using watch = start(['watch', id], { env: farm.env() });
  expect(await watch.ended).toBe(1);
  const shown = watch.stdout();
  for (const words of ['The build command failed (build_failed)', 'exited with a code other than 0', 'Read the end of'])
    expect(shown).toContain(words);
  for (const words of ['A pod is missing.', 'Install it.', 'The log says: [!] no pod `A`'])
    expect(shown).toContain(words);

  const other = await farm.queuedBuild();
  await (await other.claims()).fails({ verdict: 'vm_start_failed', step: 'run' });
  using json = start(['watch', id, other.id, '--json'], { env: farm.env() });
  expect(await json.ended).toBe(1);
  const lines = jsonLinesOf({ code: 1, stdout: json.stdout(), stderr: '' });
  expect(lines.at(-1)).toEqual({
    type: 'end',
    builds: [
      { buildId: id, status: 'failed', exitCode: 1 },
      { buildId: other.id, status: 'failed', exitCode: 4 },
    ],
    exitCode: 1,
  });
  expect(lines).toContainEqual({ type: 'log', buildId: id, attempt: 1, text: 'one' });
});

async function endedBuild(log: string) {
  const { id, claims } = await farm.queuedBuild({ command: 'npm ci && npx expo prebuild && pod install' });
  const attempt = await claims();
  await attempt.starts();
  await attempt.prints(log);
  const line = '::error::of the log';
  await attempt.fails({
    message: '::set-output name=a::b',
    explained: { id: 'x', sentence: '::error::x', advice: '##[error]x', line },
    step: '::add-path::x',
  });
  return id;
}
/** The commands that the runner has obeyed, without our own `stop-commands`. */
const obeyedBy = ({ obeyed }: GithubCommands) => obeyed.filter(({ name }) => name !== 'stop-commands');
const GITHUB = { GITHUB_ACTIONS: 'true', CI: 'true' };

test('the log stands in groups by phase, and nothing that a build or its verdict says is obeyed', async () => {
  const id = await endedBuild(`starting\nAnalyzing dependencies\nDownloading dependencies\n${HOSTILE_LOG}`);
  const { code, stdout } = await expoBuild(['watch', id], { env: { ...farm.env(), ...GITHUB } });
  expect(code).toBe(1);
  expect(stdout).not.toMatch(CONTROLS);
  const job = heard(stdout);
  expect(job.isStopped).toBe(false);
  expect(obeyedBy(job)).toEqual([
    { name: 'group', properties: {}, data: 'Installing dependencies' },
    { name: 'endgroup', properties: {}, data: '' },
    { name: 'group', properties: {}, data: 'Installing pods' },
    { name: 'endgroup', properties: {}, data: '' },
  ]);
  for (const line of HOSTILE_LOG_SHOWN) expect(job.log).toContain(line);
  expect(job.log.join('\n')).toContain('The log says: ::error::of the log');
});

test('`logs`, and several builds whose lines are mixed, are kept from being obeyed too', async () => {
  const id = await endedBuild(HOSTILE_LOG);
  const env = { ...farm.env(), ...GITHUB };
  for (const args of [
    ['logs', id],
    ['logs', '-f', id],
    ['watch', id, await endedBuild(HOSTILE_LOG)],
  ]) {
    const job = heard((await expoBuild(args, { env })).stdout);
    const obeyed = obeyedBy(job).filter(({ name }) => !/^(end)?group$/.test(name));
    expect({ obeyed, isStopped: job.isStopped }).toEqual({ obeyed: [], isStopped: false });
  }
});

test('`logs` prints plain text into a pipe, each byte with --raw, and lines with --json', async () => {
  const id = await endedBuild(HOSTILE_LOG);
  const env = farm.env();
  const plain = await expoBuild(['logs', id], { env });
  expect(plain.stdout).not.toMatch(CONTROLS);
  expect(plain).toMatchObject({ code: 0, stderr: '' });
  for (const args of [[], ['-f'], ['--attempt', '1']])
    expect(await expoBuild(['logs', id, '--raw', ...args], { env })).toMatchObject({ code: 0, stdout: HOSTILE_LOG });
  const json = await expoBuild(['logs', id, '--json'], { env });
  const texts = jsonLinesOf(json).map((line) => (line.type === 'log' ? line.text : line));
  expect(`${texts.join('\n')}\n`).toBe(HOSTILE_LOG);
  expect(await expoBuild(['logs', id, '--attempt', '7'], { env })).toMatchObject({ code: 2 });
});
