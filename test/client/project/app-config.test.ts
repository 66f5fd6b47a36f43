import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { readAppConfig } from '../../../client/project/app-config.ts';
import { nativeTargetOf } from '../../../client/project/native-target.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { APP_ID, appJson, bareProject, managedProject, PROJECT_ID } from './factories/example-projects.ts';
import { filesInFolder, filesOf } from './factories/files-of.ts';

const pbxproj = 'ios/Tiny.xcodeproj/project.pbxproj';

const read = (
  files: Record<string, string | Buffer>,
  platform: 'ios' | 'android' = 'ios',
  workflow: 'managed' | 'generic' = 'managed',
) => readAppConfig(filesOf(files), '.', platform, workflow);

test('a managed project: everything is in app.json', async () => {
  expect(await read(managedProject())).toEqual({
    ok: true,
    notes: [],
    value: {
      ...{ kind: 'static', file: 'app.json', name: 'Tiny App', slug: 'example', projectId: PROJECT_ID },
      ...{
        nativeFile: null,
        appId: APP_ID,
        version: '1.2.0',
        buildNumber: 7,
        sdkVersion: '57.0.0',
        reactNativeVersion: null,
        appExtensions: [],
      },
    },
  });
  expect(await read(managedProject(), 'android')).toMatchObject({ value: { appId: APP_ID, buildNumber: 7 } });
});

test('without an `expo` key, with comments, and with package.json for what is missing', async () => {
  const found = await read({
    'package.json': '{"name":"fallback","version":"0.9.0","dependencies":{"expo":"~56.0.3","react-native":"0.84.1"}}',
    'app.json': '{ /* bare */ ios: { bundleIdentifier: "a.b", buildNumber: "1.2.3" }, }',
  });
  expect(found).toMatchObject({
    ok: true,
    notes: ['The build number "1.2.3" in app.json is no whole number, so it is not compared with the counter.'],
    value: {
      name: 'fallback',
      version: '0.9.0',
      appId: 'a.b',
      buildNumber: null,
      sdkVersion: '56.0.0',
      reactNativeVersion: '0.84.1',
    },
  });
});

test('app.config.json wins over app.json, and app.config.ts over both', async () => {
  const files = { ...managedProject(), 'app.config.json': appJson({ name: 'Other' }) };
  expect(await read(files)).toMatchObject({ value: { kind: 'static', file: 'app.config.json', name: 'Other' } });
  expect(await read({ ...files, 'app.config.js': '', 'app.config.ts': '' })).toMatchObject({
    value: { kind: 'dynamic', file: 'app.config.ts', appId: null, version: null, buildNumber: null },
  });
});

test('with native folders, id, version and number are those of the native project', async () => {
  const native = { appId: APP_ID, version: '3.1.0', buildNumber: 12 };
  expect(await read(bareProject(), 'ios', 'generic')).toMatchObject({
    value: { kind: 'static', name: 'Tiny App', ...native },
  });
  expect(await read(bareProject(), 'android', 'generic')).toMatchObject({ value: native });
  const dynamic = { ...bareProject(), 'app.config.js': '' };
  expect(await read(dynamic, 'ios', 'generic')).toMatchObject({ value: { kind: 'dynamic', ...native } });
});

test('with flavors, only Gradle knows the id, and the one of the app config stands for it', async () => {
  const gradle = "android { defaultConfig { applicationId 'a.b'\nversionCode 4 }\nproductFlavors { free {} } }";
  const files = { ...bareProject(), 'android/app/build.gradle': gradle };
  const told =
    "android/app/build.gradle has `productFlavors`, so that the app's id and number are not known before Gradle runs.";
  expect(await read(files, 'android', 'generic')).toMatchObject({
    value: { appId: null, version: null, buildNumber: null, nativeFile: 'android/app/build.gradle' },
    notes: [told],
  });
  expect(await read({ ...files, 'app.json': appJson() }, 'android', 'generic')).toMatchObject({
    value: { appId: APP_ID, buildNumber: null },
    notes: [expect.stringMatching(/does not say the app's id plainly.+app\.json.+give `app` in the request\.$/), told],
  });
});

test('an id that is made of other settings of Xcode is put together', async () => {
  for (const [id, is] of [
    ['org.example.$(PRODUCT_NAME:rfc1034identifier)', 'org.example.Tiny'],
    [`org.example.\${TARGET_NAME:lower}`, 'org.example.tiny'],
    ['org.example.$(PRODUCT_NAME)', 'org.example.Tiny'],
    ['org.$(CONFIGURATION).x', 'org.Release.x'],
    ['$(BASE_ID)', null],
    ['$(PRODUCT_BUNDLE_IDENTIFIER)', null],
    ['org.$(PRODUCT_NAME:unknown)', null],
  ] as const) {
    const project = bareProject()[pbxproj]!.replaceAll(`IDENTIFIER = "${APP_ID}"`, `IDENTIFIER = "${id}"`);
    const files = { ...bareProject(), [pbxproj]: project };
    expect([id, await read(files, 'ios', 'generic')]).toMatchObject([
      id,
      { value: { appId: is, nativeFile: pbxproj } },
    ]);
  }
  const named = bareProject()[pbxproj]!.replace(
    `IDENTIFIER = "${APP_ID}"`,
    'IDENTIFIER = "org.$(PRODUCT_NAME:rfc1034identifier)"; PRODUCT_NAME = "My App_2"',
  );
  const debug = await readAppConfig(filesOf({ ...bareProject(), [pbxproj]: named }), '.', 'ios', 'generic', {
    buildConfiguration: 'Debug',
  });
  expect(debug).toMatchObject({ value: { appId: 'org.My-App-2' } });
});

test('what of the app config this build does not use refuses nothing', async () => {
  const other = '{"expo":{"ios":{"bundleIdentifier":"a.b"},"android":{"package":"app","versionCode":"x"}}}';
  expect(await read({ 'package.json': '{}', 'app.json': other })).toMatchObject({ value: { appId: 'a.b' } });
  const own = { ...bareProject(), 'app.json': '{"expo":{"ios":{"bundleIdentifier":"a b","buildNumber":7}}}' };
  expect(await read(own, 'ios', 'generic')).toMatchObject({ ok: true, value: { appId: APP_ID, buildNumber: 12 } });
  const text = '{"expo":{"android":{"package":"a.b","versionCode":"9"}}}';
  expect(await read({ 'package.json': '{}', 'app.json': text }, 'android')).toMatchObject({
    value: { buildNumber: 9 },
  });
});

test('a scheme that macOS has written a second file for is one scheme', async () => {
  const double = 'ios/Tiny.xcodeproj/xcshareddata/xcschemes/._A.xcscheme';
  using dir = temporaryDir();
  for (const [path, text] of Object.entries({ ...bareProject(), [double]: '\0' })) {
    mkdirSync(dirname(join(dir.path, path)), { recursive: true });
    writeFileSync(join(dir.path, path), text);
  }
  const files = await filesInFolder(dir.path);
  expect(files.paths.has(double)).toBe(false);
  expect(await readAppConfig(files, '.', 'ios', 'generic')).toMatchObject({ ok: true, value: { appId: APP_ID } });
});

test('scheme and targets: of a bare project, those of its scheme; of a managed one, the cleaned name', async () => {
  const bare = await read(bareProject(), 'ios', 'generic');
  expect(bare.ok && (await nativeTargetOf(filesOf(bareProject()), '.', 'generic', {}, bare.value))).toEqual({
    ok: true,
    notes: ['Of the schemes `A tvOS`, `Tiny`, `Tiny` is built. `ios.scheme` in eas.json names another.'],
    value: {
      ...{ scheme: 'Tiny', applicationTarget: 'Tiny', buildConfiguration: 'Release' },
      targets: [
        { name: 'Tiny', bundleId: APP_ID },
        { name: 'Tiny Widget', bundleId: `${APP_ID}.widget` },
      ],
    },
  });
  const extension = { targetName: 'Share', bundleIdentifier: `${APP_ID}.share` };
  const extra = { eas: { build: { experimental: { ios: { appExtensions: [extension] } } } } };
  const managed = await read({ ...managedProject(), 'app.json': appJson({ name: 'Café_ Ünïté 2', extra }) });
  expect(managed.ok && (await nativeTargetOf(filesOf({}), '.', 'managed', {}, managed.value))).toMatchObject({
    value: {
      ...{ scheme: 'Cafnt2', applicationTarget: 'Cafnt2', buildConfiguration: null },
      targets: [
        { name: 'Cafnt2', bundleId: APP_ID },
        { name: 'Share', bundleId: `${APP_ID}.share` },
      ],
    },
  });
  const cyrillic = await read({ ...managedProject(), 'app.json': appJson({ name: 'Привет' }) });
  expect(cyrillic.ok && (await nativeTargetOf(filesOf({}), '.', 'managed', {}, cyrillic.value))).toMatchObject({
    value: null,
  });
});

test.each([
  [
    '{"expo":{"ios":{"bundleIdentifier":"a b"}}}',
    '`expo.ios.bundleIdentifier` in app.json must have only letters, digits, "-" and ".", such as "com.example.app", but is "a b". Correct it there.',
  ],
  [
    '{"expo":{"ios":{"buildNumber":7}}}',
    '`expo.ios.buildNumber` in app.json must be a text in quotes, but is 7. Correct it there.',
  ],
  ['{"expo":{"extra":{"eas":17}}}', '`expo.extra.eas` in app.json must be an object, but is 17. Correct it there.'],
  ['{"expo":[]}', '`expo` in app.json must be an object, but is a list. Correct it there.'],
  ['{"name":7}', '`name` in app.json must be a text in quotes, but is 7. Correct it there.'],
])('%s is refused with file, field and fix', async (text, sentence) => {
  expect(await read({ 'package.json': '{}', 'app.json': text })).toEqual({ ok: false, problem: sentence });
});

test('a package that no store takes is refused with file, field and fix', async () => {
  expect(await read({ 'package.json': '{}', 'app.json': '{"expo":{"android":{"package":"app"}}}' }, 'android')).toEqual(
    {
      ok: false,
      problem:
        '`expo.android.package` in app.json must be a package, such as "com.example.app", but is "app". Correct it there.',
    },
  );
});

const scheme = 'ios/Tiny.xcodeproj/xcshareddata/xcschemes/Tiny.xcscheme';
const deep = `${'{a='.repeat(100_000)}b`;
const circle = `{ objects = { A1 = { isa = PBXNativeTarget; name = Tiny; productType = "com.apple.product-type.application"; dependencies = ( D1, ); }; D1 = { target = A1; }; }; }`;

/** Files that a stranger may have in a repository. */
test.each<[string, Record<string, string | Buffer>]>([
  ['__proto__ in app.json', { 'app.json': '{"expo":{"__proto__":{"name":"x"}}}' }],
  ['app.json 50,000 deep', { 'app.json': '['.repeat(50_000) + ']'.repeat(50_000) }],
  ['app.json of 2 MiB', { 'app.json': `{"expo":{"name":"${'x'.repeat(2 * 1024 * 1024)}"}}` }],
  ['app.json that is no UTF-8', { 'app.json': Buffer.from([0x7b, 0xff]) }],
  ['an empty app.json', { 'app.json': '' }],
  ['package.json is a list', { 'package.json': '[1', 'app.json': '{}' }],
  ['no package.json', { 'package.json': undefined as never }],
  ['a project 100,000 deep', { [pbxproj]: deep }],
  ['a project that never ends', { [pbxproj]: '{ a = "' }],
  ['a project of 5 MiB', { [pbxproj]: ' '.repeat(5 * 1024 * 1024) }],
  ['objects that are a list', { [pbxproj]: '{ objects = ( a, b, ); }' }],
  [
    'objects that objects inherit',
    {
      [pbxproj]:
        '{ objects = { __proto__ = { A1 = { isa = PBXNativeTarget; name = Tiny; }; }; }; rootObject = constructor; }',
    },
  ],
  ['a target of another name', { [pbxproj]: circle.replace('Tiny', 'Other') }],
  [
    'no shared scheme',
    { [scheme]: undefined as never, 'ios/Tiny.xcodeproj/xcshareddata/xcschemes/A tvOS.xcscheme': undefined as never },
  ],
  ['an empty scheme', { [scheme]: '' }],
  ['a scheme of 2 MiB', { [scheme]: '<BuildActionEntry'.repeat(120_000) }],
  ['a scheme without an end', { [scheme]: `<BuildActionEntry BlueprintName${' '.repeat(500_000)}` }],
])('hostile project: %s ends in one sentence', async (_, changes) => {
  const files = Object.fromEntries(
    Object.entries({ ...bareProject(), ...changes }).filter(([, content]) => content !== undefined),
  );
  const found = await read(files, 'ios', 'generic');
  expect(found).toEqual({ ok: false, problem: expect.stringMatching(/^[^\n]{20,400}\.$/) });
});

test.each<[string, Record<string, string | Buffer>]>([
  ['a target that depends on itself', { [pbxproj]: circle }],
  ['an Info.plist that is none', { 'ios/Tiny/Info.plist': '<plist><dict>' }],
  [
    'an Info.plist with entities within entities',
    {
      'ios/Tiny/Info.plist': `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><plist><dict><key>CFBundleVersion</key><string>&b;</string></dict></plist>`,
    },
  ],
  ['an Info.plist 30,000 deep', { 'ios/Tiny/Info.plist': `<plist>${'<array>'.repeat(30_000)}` }],
  [
    'settings in a circle',
    {
      [pbxproj]: bareProject()[pbxproj]!.replaceAll(
        'CURRENT_PROJECT_VERSION = 12',
        'CURRENT_PROJECT_VERSION = "$(CURRENT_PROJECT_VERSION)$(CURRENT_PROJECT_VERSION)"',
      ),
    },
  ],
  [
    'an Info.plist outside of the source',
    { [pbxproj]: bareProject()[pbxproj]!.replaceAll('Tiny/Info.plist', '"../../../etc/passwd"') },
  ],
])('hostile project: %s leaves facts out', async (_, changes) => {
  expect((await read({ ...bareProject(), ...changes }, 'ios', 'generic')).ok).toBe(true);
});

test('a build.gradle that makes regular expressions slow is read', async () => {
  const gradle = `${'versionCode '.repeat(30_000)}${'applicationId'.padEnd(300_000)}`;
  expect(await read({ ...bareProject(), 'android/app/build.gradle': gradle }, 'android', 'generic')).toMatchObject({
    value: { appId: null, buildNumber: null },
  });
});
