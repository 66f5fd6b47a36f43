import { expect, test } from 'vitest';
import { commandBuildOf, readExpoBuildJson } from '../../../client/project/expo-build-json.ts';
import { filesOf } from './factories/files-of.ts';

const read = (text: string, appRoot = '.') =>
  readExpoBuildJson(filesOf({ [appRoot === '.' ? 'expo-build.json' : `${appRoot}/expo-build.json`]: text }), appRoot);

test('expo-build.json says what is sent; without the file nothing is said', async () => {
  expect(await readExpoBuildJson(filesOf({}), '.')).toEqual({
    ok: true,
    value: { secretFiles: [], include: [] },
    notes: [],
  });
  const json = await read(
    `{ command: 'make', // for both
       artifacts: ["out/*.ipa", { "glob": "logs", "required": false }],
       android: { command: "./gradlew assembleRelease" },
       secretFiles: [".env"], include: ["ios/Frameworks/**"], project: "shop" }`,
    "apps/o'ne",
  );
  if (!json.ok) throw new Error(json.problem);
  expect(json.value).toMatchObject({ secretFiles: ['.env'], include: ['ios/Frameworks/**'], project: 'shop' });
  const ipa = { glob: "apps/o'ne/out/*.ipa", required: true, onFailure: false };
  const artifacts = [ipa, { glob: "apps/o'ne/logs", required: false, onFailure: false }];
  const enter = `cd 'apps/o'\\''ne' || exit\n`;
  const built = (platform: 'ios' | 'android') => commandBuildOf(json.value, "apps/o'ne", platform);
  expect(built('ios')).toEqual({ ok: true, notes: [], value: { command: `${enter}make`, artifacts } });
  expect(built('android')).toMatchObject({ value: { command: `${enter}./gradlew assembleRelease`, artifacts } });
  expect(commandBuildOf({ secretFiles: [], include: [] }, '.', 'ios')).toMatchObject({ ok: true, value: null });
  const up = { secretFiles: [], include: [], command: 'make', artifacts: [{ ...ipa, glob: '../../../x' }] };
  expect(commandBuildOf(up, 'apps/one', 'ios')).toMatchObject({ ok: false });
});

test.each([
  ['{"apiKey":"x"}', "The controller's address and the key never come from a project"],
  ['{"ios":{"url":"https://x"}}', "The controller's address and the key never come from a project"],
  ['{"command":"curl -H x-api-key:tb_submit_0123456789abcdefghij"}', 'has a key of Tartbeat in it'],
  ['{"project":"https://evil.example"}', '`project` in expo-build.json is refused: must be 1 to 64 characters'],
  ['{"command":""}', '`command` in expo-build.json must not be empty'],
  ['{"command":1}', '`command` in expo-build.json must be a text in quotes, but is 1'],
  ['{"artifacts":"x"}', '`artifacts` in expo-build.json must be a list of globs'],
  ['{"artifacts":[{"glob":1}]}', '`artifacts.0` in expo-build.json must be a glob, or an object'],
  ['{"artifacts":[""]}', '`artifacts` in expo-build.json is refused'],
  ['{"include":["a",""]}', 'must not have an empty text'],
  [
    '{"ios":{"profile":"x"}}',
    '`ios` in expo-build.json has no field `profile`. Correct its name, or remove it. The fields are `command`, `artifacts`',
  ],
  ['[]', 'expo-build.json must be an object'],
  ['{', 'expo-build.json is not valid JSON'],
])('%s is refused', async (text, says) => {
  const json = await read(text);
  expect(json.ok ? json.value : json.problem).toContain(says);
});
