import { expect, test } from 'vitest';
import { resolveProfile } from '../../../client/project/build-profile.ts';
import { readEasJson } from '../../../client/project/eas-json.ts';
import { filesOf } from './factories/files-of.ts';

const read = (text: string | Buffer, appRoot = '.') =>
  readEasJson(filesOf({ [appRoot === '.' ? 'eas.json' : `${appRoot}/eas.json`]: text }), appRoot);
const problemOf = async (text: string | Buffer) => {
  const found = await read(text);
  return found.ok ? null : found.problem;
};

test('comments, commas at the end, single quotes and names without quotes are read', async () => {
  const found = await read(`{ // as people write it
    build: { 'production': { /* none */ "env": { A: "1", }, }, },
  }`);
  expect(found).toMatchObject({ ok: true, notes: [] });
  expect(found.ok && resolveProfile(found.value, 'ios', 'production')).toEqual({
    ok: true,
    notes: [],
    value: {
      name: 'production',
      platform: 'ios',
      credentialsSource: 'remote',
      distribution: 'store',
      env: { A: '1' },
    },
  });
});

test('in a monorepo, messages name the file with its folder', async () => {
  expect(await read('{', 'apps/mobile')).toEqual({
    ok: false,
    problem: 'apps/mobile/eas.json is not valid JSON at line 1, column 2. Correct it there.',
  });
  expect(await readEasJson(filesOf({}), 'apps/mobile')).toMatchObject({
    problem:
      'apps/mobile/eas.json is not in the source, so there is no profile. Create it with `expo-build init --eas-json` or `eas build:configure`.',
  });
});

test.each([
  [
    '{"build":{"a":{"node":22}}}',
    '`build.a.node` in eas.json must be a whole version in quotes, such as "22.13.0", but is 22. Correct it there.',
  ],
  [
    '{"build":{"a":{"ios":{"simulator":"yes"}}}}',
    '`build.a.ios.simulator` in eas.json must be true or false, but is "yes". Correct it there.',
  ],
  [
    '{"build":{"a":{"android":{"buildType":"aab"}}}}',
    '`build.a.android.buildType` in eas.json must be "apk" or "app-bundle", but is "aab". Correct it there.',
  ],
  [
    '{"build":{"a":{"env":{"PORT":3000}}}}',
    '`build.a.env.PORT` in eas.json must be a text in quotes, but is 3000. Correct it there.',
  ],
  [
    '{"build":{"a":{"env":{"EMPTY":""}}}}',
    '`build.a.env.EMPTY` in eas.json must not be empty, but is "". Correct it there.',
  ],
  ['{"build":[]}', '`build` in eas.json must be an object of profiles, but is a list. Correct it there.'],
  ['[]', 'eas.json must be an object, such as { "build": { "production": {} } }, but is a list. Correct it there.'],
  [
    '{"build":{"a":{"ios":{"artifactPath":"x","applicationArchivePath":"y"}}}}',
    '`build.a.ios` in eas.json has both `artifactPath` and `applicationArchivePath`. Keep `applicationArchivePath`. Correct it there.',
  ],
  [
    '{"build":{"a":{"android":{"keystoreName":"x"}}}}',
    '`build.a.android` in eas.json has `keystoreName`, which needs `credentialsSource: "remote"` beside it. Correct it there.',
  ],
  [
    '{"cli":{"appVersionSource":"here"}}',
    '`cli.appVersionSource` in eas.json must be "local" or "remote", but is "here". Correct it there.',
  ],
])('%s is refused with file, field and fix', async (text, sentence) => {
  expect(await problemOf(text)).toBe(sentence);
});

test('what no build looks at is a note, and the values of submit are not looked at', async () => {
  const found = await read(
    JSON.stringify({
      cli: { version: '>= 16.0.0', appVersionSource: 'remote' },
      build: { a: { newField: 1, simulator: true, ios: { other: true, simulater: true } } },
      submit: { production: { ios: 'anything', web: {} }, preview: { android: { track: 1, lane: 2 } } },
      extra: {},
    }),
  );
  expect(found.ok && found.notes).toEqual([
    "`cli.version` in eas.json is ignored. It concerns eas-cli. Only the engine `eas` starts it, and then it is the image's one, whatever its version.",
    'eas.json has fields that are not known and change nothing: `extra`, `build.a.newField`, `build.a.simulator`, `build.a.ios.other`, `build.a.ios.simulater`, `submit.production.web`, `submit.preview.android.lane`. `ios.simulator` may be meant by `simulator`. `simulator` may be meant by `simulater`.',
  ]);
});

const nested = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth);
const chain = (length: number) =>
  JSON.stringify({
    build: Object.fromEntries(
      Array.from({ length }, (_, at) => [`p${at}`, at === length - 1 ? {} : { extends: `p${at + 1}` }]),
    ),
  });

/** Files that a stranger may have in a repository. Each profile that is asked for is `p0`. */
const HOSTILE: [string, string | Buffer][] = [
  ['a name that all objects inherit as a profile', '{"build":{"p0":{"extends":"constructor"}}}'],
  ['toString as a parent', '{"build":{"p0":{"extends":"toString"}}}'],
  ['__proto__ as a parent', '{"build":{"p0":{"extends":"__proto__"}}}'],
  ['__proto__ as a profile', '{"build":{"__proto__":{"env":{"A":"1"}}}}'],
  ['__proto__ in env', '{"build":{"p0":{"env":{"__proto__":"x"}}}}'],
  ['__proto__ as an object in env', '{"build":{"p0":{"env":{"__proto__":{"toString":1}}}}}'],
  ['__proto__ at the top', '{"__proto__":{"build":{"p0":{}}}}'],
  ['__proto__ by JSON5', '{build:{p0:{__proto__:{simulator:true}}}}'],
  ['__proto__ by an escape', '{"build":{"p0":{"\\u005f_proto__":{}}}}'],
  ['a profile that extends itself', '{"build":{"p0":{"extends":"p0"}}}'],
  ['a circle of two', '{"build":{"p0":{"extends":"p1"},"p1":{"extends":"p0"}}}'],
  ['a circle further down', '{"build":{"p0":{"extends":"p1"},"p1":{"extends":"p2"},"p2":{"extends":"p1"}}}'],
  ['six in a row', chain(6)],
  ['five thousand in a row', chain(5_000)],
  ['lists 100,000 deep', nested(100_000, '[', ']')],
  ['objects 20,000 deep', `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`],
  ['JSON5 lists 50,000 deep', `/**/${nested(50_000, '[', ']')}`],
  ['lists that never end', '['.repeat(200_000)],
  ['17 MiB', Buffer.alloc(17 * 1024 * 1024, ' ')],
  ['a text of 300 KiB', JSON.stringify({ build: { p0: { env: { A: 'x'.repeat(300 * 1024) } } } })],
  ['a comment of 250 KiB that never ends', `/*${'*'.repeat(250 * 1024)}`],
  [
    '20,000 unknown fields with wrong types',
    `{"build":{"p0":{${Array.from({ length: 20_000 }, (_, at) => `"f${at}":1`).join(',')},"node":1}}}`,
  ],
  ['a version of 200 KiB', JSON.stringify({ build: { p0: { node: `1.2.3-${'0'.repeat(200_000)}` } } })],
  [
    'a version that makes regular expressions slow',
    JSON.stringify({ build: { p0: { node: `1.2.3-${'a.'.repeat(100)}!` } } }),
  ],
  [
    'a channel that makes regular expressions slow',
    JSON.stringify({ build: { p0: { channel: `${'a'.repeat(100_000)}!` } } }),
  ],
  ['an image with escapes for terminals', '{"build":{"p0":{"ios":{"image":"\\u001b]52;c;aGk=\\u0007\\u202e"}}}}'],
  ['a parent with line breaks', '{"build":{"p0":{"extends":"a\\nb\\r\\n::set-output name=x::y"}}}'],
  ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
  ['UTF-16', Buffer.from('{"build":{}}', 'utf16le')],
  ['nothing', ''],
  ['spaces', ' \n\t '],
  ['zero bytes', Buffer.alloc(100)],
  ['a zero byte in env', '{"build":{"p0":{"env":{"A":"a\\u0000b"}}}}'],
  ['a variable without a name', '{"build":{"p0":{"env":{"":"x"}}}}'],
  ['a profile without a name', '{"build":{"":{}, "p0":{}}}'],
  ['null', 'null'],
  ['a number', '17'],
  ['a text', '"build"'],
  ['build: null', '{"build":null}'],
  ['a profile that is null', '{"build":{"p0":null}}'],
  ['a profile that is a list', '{"build":{"p0":[]}}'],
  ['ios: a text of JSON', '{"build":{"p0":{"ios":"{\\"simulator\\":true}"}}}'],
  ['cache: a list', '{"build":{"p0":{"cache":[{"key":1}]}}}'],
  ['both names of cache paths', '{"build":{"p0":{"cache":{"paths":[],"customPaths":[]}}}}'],
  ['NaN', '{build:{p0:{node:NaN}}}'],
  ['a function', '{"build":{"p0":{"node":require("child_process")}}}'],
];

test.each(HOSTILE)('hostile eas.json: %s ends in one sentence', async (_, text) => {
  const found = await read(text);
  const end = found.ok ? resolveProfile(found.value, 'ios', 'p0') : found;
  expect(end.ok).toBe(false);
  const sentence = end.ok ? '' : end.problem;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may reach a log
  expect(sentence).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
  expect(sentence).toMatch(/eas\.json.*[.]$/);
  expect(sentence.length).toBeLessThan(600);
  expect(Object.keys(Object.prototype)).toEqual([]);
});
