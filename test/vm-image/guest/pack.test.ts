/** Tests which part of a source Expo's engine gets, as the tar of Linux and that of macOS pack it. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { pathOf } from '../../set-up/programs.ts';
import { testWith } from '../../set-up/test-with.ts';
import { stateFolder } from '../factories/guest-script.ts';

const GUEST = join(import.meta.dirname, '../../../vm-image/guest');
const FILES = [
  ...['ios/App.xcodeproj/project.pbxproj', 'modules/mine/ios/Mine.swift', 'packages/ios', 'android/build.gradle'],
  ...['apps/[a]/ios/Podfile', 'apps/a/ios/Podfile', 'tartbeat-artifacts/App.ipa', 'docs/tartbeat-artifacts/why.md'],
  ...[
    'node_modules/expo/index.js',
    'packages/one/node_modules/left/index.js',
    '-C',
    '@name',
    'two\nlines',
    '.git/HEAD',
  ],
];

interface Packing {
  tar: 'tar' | 'bsdtar';
  workflow: 'managed' | 'generic';
  appRoot?: string;
  installed?: boolean;
}

function pack({ tar, workflow, appRoot = '.', installed = false }: Packing) {
  using state = stateFolder();
  const at = (path: string) => join(state.path, path);
  for (const path of FILES.map((file) => at(`source/${file}`))) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, 'content');
  }
  mkdirSync(at('source/empty'));
  symlinkSync('modules', at('source/link'));
  symlinkSync('../node_modules', at('source/modules/node_modules'));
  mkdirSync(at('bin'));
  symlinkSync(tar === 'tar' ? '/usr/bin/tar' : pathOf('bsdtar')!, at('bin/tar'));
  const script = `state=$1 root= log=/dev/null expo_home=$1 platform=ios app_root=$2 workflow=$3 ask_number= ask_target=$4
    project_archive=$1/project.tar.gz
    say() { printf '%s\\n' "$*"; }
    . "$5/pack.sh" && . "$5/engine-plugin.sh" && pack_project`;
  const { status, stdout, stderr } = spawnSync(
    'bash',
    ['-c', script, 'pack', state.path, appRoot, workflow, installed ? '1' : '', GUEST],
    { env: { PATH: `${at('bin')}:${process.env.PATH}`, HOME: state.path }, encoding: 'utf8' },
  );
  expect([status, stderr]).toEqual([0, '']);
  expect(statSync(at('project.tar.gz')).mode & 0o777).toBe(0o600);
  const list = spawnSync('tar', ['-tzf', at('project.tar.gz'), '--quoting-style=literal'], { encoding: 'utf8' }).stdout;
  return { says: stdout, holds: (path: string) => `\n${list}`.includes(`\n./${path}\n`), list };
}

for (const tar of ['tar', 'bsdtar'] as const) {
  const withTar = testWith('bash', ...(tar === 'bsdtar' ? (['bsdtar'] as const) : []));

  withTar(`${tar}: of a managed project the native folder stays out, and no other folder of that name`, () => {
    const { says, holds, list } = pack({ tar, workflow: 'managed' });
    expect(says).toBe('The folder ios is left out, because the project is managed: Expo makes it new.\n');
    const left = ['ios/', 'ios/App.xcodeproj/project.pbxproj', 'tartbeat-artifacts/', 'tartbeat-artifacts/App.ipa'];
    expect(left.filter(holds)).toEqual([]);
    const packed = [...FILES.filter((file) => !left.includes(file)), 'empty/', 'link', 'modules/node_modules'];
    expect(packed.filter((path) => !holds(path))).toEqual([]);
    expect(list.split('\n')[0]).toBe('./');
  });

  withTar(`${tar}: a generic project keeps it`, () => {
    const { says, holds } = pack({ tar, workflow: 'generic' });
    expect([says, holds('ios/App.xcodeproj/project.pbxproj')]).toEqual(['', true]);
  });

  withTar(`${tar}: in a monorepo the folder of the app counts, whatever characters its name has`, () => {
    const { says, holds } = pack({ tar, workflow: 'managed', appRoot: 'apps/[a]' });
    expect(says).toContain('The folder apps/[a]/ios is left out');
    expect(['apps/[a]/', 'apps/[a]/ios/', 'apps/a/ios/Podfile', 'ios/App.xcodeproj/'].map(holds)).toEqual([
      ...[true, false],
      ...[true, true],
    ]);
  });

  withTar(`${tar}: after an install every node_modules stays out, links too`, () => {
    const { list } = pack({ tar, workflow: 'generic', installed: true });
    expect(list.split('\n').filter((path) => path.includes('node_modules'))).toEqual([]);
    expect(list).toContain('./packages/one/\n');
  });
}
