/** `expo-build watch` in a job of GitHub Actions, whose output is read as the runner reads it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expoBuild } from './expo-build-process.ts';
import { type Feeding, startFeeding } from './fed-builds.ts';
import { HOSTILE_LOG, HOSTILE_LOG_SHOWN } from './hostile-log.ts';

let farm: Feeding;
beforeAll(async () => {
  farm = await startFeeding();
});
afterAll(() => farm?.[Symbol.asyncDispose]());

interface Obeyed {
  name: string;
  data: string;
}

/**
 * Reads as the runner does (ActionCommand.cs, ActionCommandManager.cs): a command at the beginning of a line
 * after spaces, or `##[` anywhere; after stop-commands nothing but the word that it named.
 */
function runner(output: string) {
  const obeyed: Obeyed[] = [];
  const shown: string[] = [];
  let word: string | null = null;
  for (const line of output.split(/\r\n|\r|\n/)) {
    const [, name, data] =
      /^\s*::([^\s:]+)(?: [^:]*)?::(.*)$/.exec(line) ?? /##\[([^\s\]]+)[^\]]*\](.*)$/.exec(line) ?? [];
    if (name === undefined || (word !== null && name !== word)) shown.push(line);
    else if (name === word) word = null;
    else if (name === 'stop-commands') word = data!;
    else obeyed.push({ name, data: data! });
  }
  return { obeyed, shown, isStopped: word !== null };
}

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
const GITHUB = { GITHUB_ACTIONS: 'true', CI: 'true' };

test('the log stands in groups by phase, and nothing that a build or its verdict says is obeyed', async () => {
  const id = await endedBuild(`starting\nAnalyzing dependencies\nDownloading dependencies\n${HOSTILE_LOG}`);
  const { code, stdout } = await expoBuild(['watch', id], { env: { ...farm.env(), ...GITHUB } });
  expect(code).toBe(1);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  expect(stdout).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
  const { obeyed, shown, isStopped } = runner(stdout);
  expect(isStopped).toBe(false);
  expect(obeyed).toEqual([
    { name: 'group', data: 'Installing dependencies' },
    { name: 'endgroup', data: '' },
    { name: 'group', data: 'Installing pods' },
    { name: 'endgroup', data: '' },
  ]);
  for (const line of HOSTILE_LOG_SHOWN) expect(shown).toContain(line);
  expect(shown.join('\n')).toContain('The log says: ::error::of the log');
});

test('`logs`, and several builds whose lines are mixed, are kept from being obeyed too', async () => {
  const id = await endedBuild(HOSTILE_LOG);
  const env = { ...farm.env(), ...GITHUB };
  for (const args of [
    ['logs', id],
    ['logs', '-f', id],
    ['watch', id, await endedBuild(HOSTILE_LOG)],
  ]) {
    const { obeyed, isStopped } = runner((await expoBuild(args, { env })).stdout);
    expect({ obeyed: obeyed.filter(({ name }) => !/^(end)?group$/.test(name)), isStopped }).toEqual({
      obeyed: [],
      isStopped: false,
    });
  }
});

test('`logs` prints plain text into a pipe, each byte with --raw, and lines with --json', async () => {
  const id = await endedBuild(HOSTILE_LOG);
  const env = farm.env();
  const plain = await expoBuild(['logs', id], { env });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  expect(plain.stdout).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
  expect(plain).toMatchObject({ code: 0, stderr: '' });
  for (const args of [[], ['-f'], ['--attempt', '1']])
    expect(await expoBuild(['logs', id, '--raw', ...args], { env })).toMatchObject({ code: 0, stdout: HOSTILE_LOG });
  const json = await expoBuild(['logs', id, '--json'], { env });
  const texts = json.stdout
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { text: string }).text);
  expect(`${texts.join('\n')}\n`).toBe(HOSTILE_LOG);
  expect(await expoBuild(['logs', id, '--attempt', '7'], { env })).toMatchObject({ code: 2 });
});
