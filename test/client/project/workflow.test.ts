import { expect, test } from 'vitest';
import { workflowOf, xcodeProjectIn } from '../../../client/project/workflow.ts';
import { filesOf } from './factories/files-of.ts';

const project = 'ios/App.xcodeproj/project.pbxproj';
const manifest = 'android/app/src/main/AndroidManifest.xml';

test.each<[string, Record<string, string>, string, 'ios' | 'android', 'managed' | 'generic']>([
  ['no native folder', { 'app.json': '{}' }, '.', 'ios', 'managed'],
  ['an Xcode project', { [project]: '' }, '.', 'ios', 'generic'],
  ['the other platform', { [project]: '' }, '.', 'android', 'managed'],
  ['a manifest', { [manifest]: '' }, '.', 'android', 'generic'],
  ['build.gradle.kts', { 'android/app/build.gradle.kts': '' }, '.', 'android', 'generic'],
  ['a Podfile alone', { 'ios/Podfile': '' }, '.', 'ios', 'managed'],
  ['a project of Pods', { 'ios/Pods/Pods.xcodeproj/project.pbxproj': '' }, '.', 'ios', 'managed'],
  ['an ignored folder', { [project]: '', '.gitignore': 'node_modules\n/ios\n' }, '.', 'ios', 'managed'],
  [
    'an ignored folder, taken back',
    { [project]: '', '.gitignore': '/ios/\n!/ios/App.xcodeproj\n' },
    '.',
    'ios',
    'managed',
  ],
  [
    'an ignored name that is not the folder',
    { [project]: '', '.gitignore': 'ios.txt\nbuild/ios\n' },
    '.',
    'ios',
    'generic',
  ],
  ['.gitignore within ios', { [project]: '', 'ios/.gitignore': '*.xcodeproj/\n' }, '.', 'ios', 'managed'],
  [
    '.easignore stands for .gitignore',
    { [project]: '', '.gitignore': '/ios', '.easignore': 'docs' },
    '.',
    'ios',
    'generic',
  ],
  ['.easignore', { [project]: '', '.easignore': 'ios/' }, '.', 'ios', 'managed'],
  [
    'one of two markers ignored',
    { [manifest]: '', 'android/app/build.gradle': '', '.gitignore': 'build.gradle' },
    '.',
    'android',
    'generic',
  ],
  ['an app in a monorepo', { [`apps/mobile/${project}`]: '' }, 'apps/mobile', 'ios', 'generic'],
  [
    'ignored by the root of a monorepo',
    { [`apps/mobile/${project}`]: '', '.gitignore': 'apps/*/ios' },
    'apps/mobile',
    'ios',
    'managed',
  ],
  [
    'ignored by the app of a monorepo',
    { [`apps/mobile/${project}`]: '', 'apps/mobile/.gitignore': '/ios' },
    'apps/mobile',
    'ios',
    'managed',
  ],
  ['a folder that leads out', { [project]: '' }, '../..', 'ios', 'managed'],
])('%s', async (_, files, appRoot, platform, workflow) => {
  expect(await workflowOf(filesOf(files), appRoot, platform)).toBe(workflow);
});

test('of several Xcode projects, the first one in `ios` itself is taken', () => {
  const files = filesOf({
    'ios/Deep/A.xcodeproj/project.pbxproj': '',
    'ios/Tests/B.xcodeproj/project.pbxproj': '',
    'ios/Z.xcodeproj/project.pbxproj': '',
    'ios/MyTest.xcodeproj/project.pbxproj': '',
  });
  expect(xcodeProjectIn(files, '.')).toBe('ios/MyTest.xcodeproj/project.pbxproj');
});
