import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { commandBuildOf, readExpoBuildJson } from '../../../../client/project/expo-build-json.ts';
import { appFoldersIn } from '../../../../client/project/first-build/app-folders.ts';
import { gitCallsIn } from '../../../../client/project/first-build/git-calls.ts';
import { proposedExpoBuildJson } from '../../../../client/project/first-build/proposed-files.ts';
import { surveyProject } from '../../../../client/project/first-build/survey-project.ts';
import { bareProject, managedProject } from '../factories/example-projects.ts';
import { filesOf } from '../factories/files-of.ts';

/** The proposal for a platform, as a build gets it. It must be a script that bash can read. */
async function proposed(files: Record<string, unknown>, appRoot: string, platform: 'ios' | 'android') {
  const survey = await surveyProject(filesOf(files), appRoot);
  const text = proposedExpoBuildJson(survey.builds);
  if (text === null) return null;
  const path = appRoot === '.' ? 'expo-build.json' : `${appRoot}/expo-build.json`;
  const json = await readExpoBuildJson(filesOf({ [path]: text }), appRoot);
  if (!json.ok) throw new Error(json.problem);
  const built = commandBuildOf(json.value, appRoot, platform);
  if (!built.ok) throw new Error(built.problem);
  if (built.value) execFileSync('bash', ['-n', '-c', built.value.command]);
  return built.value && { command: built.value.command, artifacts: built.value.artifacts.map(({ glob }) => glob) };
}

test('for native folders a command is proposed that installs, builds, and brings the app back', async () => {
  const bare = { ...bareProject(), 'package-lock.json': '{}', 'android/gradlew': '' };
  expect(await proposed(bare, '.', 'ios')).toEqual({
    command: `set -e
npm ci --include=dev
(cd ios && pod install)
xcodebuild -workspace ios/Tiny.xcworkspace \\
  -scheme Tiny -configuration Release -sdk iphonesimulator \\
  -destination 'generic/platform=iOS Simulator' -derivedDataPath build/ios CODE_SIGNING_ALLOWED=NO build`,
    artifacts: ['build/ios/Build/Products/Release-iphonesimulator/*.app'],
  });
  expect(await proposed(bare, '.', 'android')).toEqual({
    command: 'set -e\nnpm ci --include=dev\n(cd android && sh ./gradlew :app:assembleRelease --no-daemon)',
    artifacts: ['android/app/build/outputs/apk/**/*.apk'],
  });
});

test('in a monorepo the root is installed with the version that the project names; odd names are quoted', async () => {
  const files = {
    'package.json': { workspaces: ['apps/*'], packageManager: 'pnpm@10.15.0' },
    'pnpm-workspace.yaml': 'packages: ["apps/*"]',
    'pnpm-lock.yaml': "lockfileVersion: '9.0'",
    'apps/my app/package.json': { name: 'x' },
    "apps/my app/ios/It's $(x).xcodeproj/project.pbxproj": '',
  };
  const { command, artifacts } = (await proposed(files, 'apps/my app', 'ios'))!;
  expect(command).toContain(
    "cd 'apps/my app' || exit\nset -e\n(cd ../.. && npx --yes pnpm@10.15.0 install --frozen-lockfile)\n",
  );
  expect(command).toContain(`-project 'ios/It'\\''s $(x).xcodeproj' \\\n  -scheme 'It'\\''s $(x)'`);
  expect(artifacts).toEqual(['apps/my app/build/ios/Build/Products/Release-iphonesimulator/*.app']);
});

test('a project without Node is built too, and one without native folders gets no command', async () => {
  const swift = { 'Shop.xcodeproj/project.pbxproj': '', 'Shop.xcodeproj/xcshareddata/xcschemes/App.xcscheme': '' };
  expect((await proposed(swift, '.', 'ios'))?.command).toContain(
    'xcodebuild -project Shop.xcodeproj \\\n  -scheme App',
  );
  const kotlin = { gradlew: '', 'app/build.gradle.kts': '' };
  expect((await proposed(kotlin, '.', 'android'))?.command).toBe(
    'set -e\nsh ./gradlew :app:assembleRelease --no-daemon',
  );
  expect(await proposed(managedProject(), '.', 'ios')).toBeNull();
});

test('the apps of a repository are found, and calls of git in what builds them', async () => {
  const files = filesOf({
    'package.json': '{}',
    'apps/a/package.json': { scripts: { sha: 'echo $(git rev-parse HEAD)', prepare: 'git config x' } },
    'apps/a/app.json': '{}',
    'apps/b/package.json': '{}',
    'apps/b/app.config.ts': '',
    'packages/c/package.json': '{}',
    'apps/a/ios/fastlane/Fastfile': '# git log\nbuild = number_of_commits\n',
    'apps/a/ios/A.xcodeproj/project.pbxproj':
      '\tshellScript = "n=`git rev-list --count HEAD`\\n";\n\tname = "git show";\n',
    'apps/a/android/app/build.gradle': 'def sha = ["git", "describe", "--tags"].execute()\n// git branch\n',
  });
  expect(appFoldersIn(files)).toEqual(['apps/a', 'apps/b']);
  expect(await gitCallsIn(files, 'apps/a')).toEqual([
    { file: 'apps/a/package.json', call: 'git rev-parse' },
    { file: 'apps/a/ios/A.xcodeproj/project.pbxproj', call: 'git rev-list' },
    { file: 'apps/a/ios/fastlane/Fastfile', call: 'number_of_commits' },
    { file: 'apps/a/android/app/build.gradle', call: 'git describe' },
  ]);
  const long = filesOf({ 'package.json': { scripts: { a: `git${' '.repeat(1_000_000)}log` } } });
  expect(await gitCallsIn(long, '.')).toEqual([]);
});
