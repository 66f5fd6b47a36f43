/**
 * Tests vm-image/guest/toolchain.sh with stand-ins of mise, npm and gem that record how they are called.
 * test/expo/toolchain.test.ts runs the real ones.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

const TOOLCHAIN = join(import.meta.dirname, '../../../vm-image/guest/toolchain.sh');

const prints = (line: string) => `#!/bin/bash\necho '${line}'\n`;

/** Writes a program that prints its version to where mise would put it. */
const MISE = `#!/bin/bash
printf '%s\\n' "mise $*" >>"$RECORD"
env | grep -E '^(MISE|npm_config)_' | sort >"$RECORD.environment"
pwd >"$RECORD.folder"
tool=\${2%@*} version=\${2##*@}
name=\${tool##*/}; name=\${name##*:}
place=$HOME/installs/$name/$version
case $1 in
  where) [ -d "$place" ] && echo "$place" || exit 1 ;;
  install)
    [ ! -e "$RECORD.fails" ] || { echo 'no such version' >&2; exit 1; }
    case $tool in
      npm:@oven/*) folder=$place/lib/node_modules/$(echo "$tool" | sed s/npm://)/bin program=bun ;;
      npm:@yarnpkg/*) folder=$place/bin program=yarn
        mkdir -p "$place/lib/node_modules/@yarnpkg/cli-dist/bin"
        printf 'the one file' >"$place/lib/node_modules/@yarnpkg/cli-dist/bin/yarn.js" ;;
      *) folder=$place/bin program=$name ;;
    esac
    [ ! -e "$RECORD.says" ] || version=$(cat "$RECORD.says")
    mkdir -p "$folder"
    printf '#!/bin/bash\\necho v%s\\n' "$version" >"$folder/$program"
    chmod +x "$folder/$program"
    ;;
esac
`;

const NPM = `#!/bin/bash
[ "$*" != --version ] || { echo 11.6.0; exit; }
printf '%s\\n' "npm $*" >>"$RECORD"
printf 'the archive' >archive.tgz
`;

/** As RubyGems' programs, it takes a version as its first argument. */
const GEM = `#!/bin/bash
printf '%s\\n' "gem $*" >>"$RECORD"
while [ $# -gt 1 ]; do [ "$1" != --bindir ] || folder=$2; shift; done
case $1 in cocoapods) program=pod ;; bundler) program=bundle ;; *) program=$1 ;; esac
mkdir -p "$folder"
printf '#!/bin/bash\\nv=\${1//_/}; echo "installation at /gems/9.9.9"; echo "%s \${v:-9.9.9}"\\n' "$program" >"$folder/$program"
chmod +x "$folder/$program"
`;

function image({ mise = true } = {}) {
  const dir = temporaryDir();
  const bin = join(dir.path, 'bin');
  const home = join(dir.path, 'home');
  for (const folder of [bin, home, join(dir.path, 'project')]) mkdirSync(folder);
  const record = join(dir.path, 'record');
  const program = (name: string, text: string) => {
    writeFileSync(join(bin, name), text);
    chmodSync(join(bin, name), 0o755);
  };
  program('node', prints('v24.21.0'));
  program('npm', NPM);
  program('gem', GEM);
  program('pod', prints('1.16.2'));
  // The real tools of this machine must not answer for the image.
  for (const name of ['yarn', 'pnpm', 'bun', 'fastlane', 'bundle']) program(name, '#!/bin/bash\nexit 127\n');
  if (mise) program('mise', MISE);
  return {
    record: (name: string, text = '') => writeFileSync(`${record}.${name}`, text),
    recorded: (name?: string) => {
      const file = name === undefined ? record : `${record}.${name}`;
      return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
    },
    project: join(dir.path, 'project'),
    home,
    install(tools: string, after = ':') {
      const script = `cd "$PROJECT"; . '${TOOLCHAIN}'; tools='${tools}'; install_tools || exit 9; ${after}`;
      const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: home, RECORD: record, PROJECT: join(dir.path, 'project') };
      const { status, stdout, stderr } = spawnSync('/bin/bash', ['-c', script], { env, encoding: 'utf8' });
      return { status, lines: stdout.trim().split('\n').filter(Boolean), stderr };
    },
    [Symbol.dispose]: dir[Symbol.dispose],
  };
}

test('a version that the image has already is not installed, also where only its beginning is named', () => {
  using it = image();
  for (const version of ['24.21.0', '24.21', '24']) {
    expect(it.install(`node ${version}`).lines).toEqual(['[tartbeat] node 24.21.0 is in the image.']);
    expect(it.recorded()).toEqual([]);
  }
  // 24.2 does not stand for 24.21.
  expect(it.install('node 24.2').lines[0]).toBe('[tartbeat] Installing node 24.2; the image has 24.21.0.');
});

test('each tool comes from where its makers publish it, and is first on PATH for all that follows', () => {
  using it = image();
  const tools = 'node 22.11.0\npnpm 10.15.0\nyarn 1.22.22\nyarn 4.9.2\nbun 1.2.20\nnpm 10.9.0\n';
  const { status, lines } = it.install(
    tools,
    'bash -c "node --version; pnpm --version; yarn --version; bun --version; bunx --version"',
  );
  expect(status, lines.join('\n')).toBe(0);
  expect(lines.slice(-5)).toEqual(['v22.11.0', 'v10.15.0', 'v4.9.2', 'v1.2.20', 'v1.2.20']);
  expect(lines[1]).toMatch(/^\[tartbeat\] Installed node 22\.11\.0 in \d+ s\.$/);
  const installs = it.recorded().filter((line) => line.startsWith('mise install'));
  const bun = `npm:@oven/bun-linux-${process.arch === 'arm64' ? 'aarch64' : 'x64'}@1.2.20`;
  expect(installs.map((line) => line.replace('mise install ', ''))).toEqual([
    'node@22.11.0',
    'npm:pnpm@10.15.0',
    'npm:yarn@1.22.22',
    'npm:@yarnpkg/cli-dist@4.9.2',
    bun,
    'npm:npm@10.9.0',
  ]);
});

test('mise runs no code of a file, reads no file of the project, and asks no third party', () => {
  using it = image();
  it.install('node 22.11.0');
  expect(it.recorded('environment')).toEqual(
    expect.arrayContaining([
      `MISE_CEILING_PATHS=${it.home}/.tartbeat/expo/tools`,
      'MISE_IDIOMATIC_VERSION_FILE_ENABLE_TOOLS=',
      'MISE_NO_CONFIG=1',
      'MISE_SAFE=1',
      'MISE_USE_VERSIONS_HOST=0',
      'MISE_YES=1',
    ]),
  );
  expect(it.recorded('folder')).toEqual([join(it.home, '.tartbeat/expo/tools')]);
});

test('what fails is named, with what the tool said before it', () => {
  using it = image();
  it.record('fails');
  const { status, lines } = it.install('node 22.99.0\npnpm 10.15.0');
  expect([status, ...lines]).toEqual([
    9,
    '[tartbeat] Installing node 22.99.0; the image has 24.21.0.',
    'no such version',
    '[tartbeat] node 22.99.0 could not be installed. The lines above say why. Check that this version exists and that the VM reaches the address.',
  ]);
});

test('a tool that says another version than the one that was installed is a failure', () => {
  using it = image();
  it.record('says', '22.0.0');
  const { status, lines } = it.install('node 22.11.0');
  expect([status, lines.at(-1)]).toEqual([
    9,
    '[tartbeat] node 22.11.0 was installed, but `node --version` says 22.0.0.',
  ]);
});

test('an image without mise names the command that installs it', () => {
  using it = image({ mise: false });
  const { status, lines } = it.install('node 22.11.0');
  expect([status, lines.join('\n')]).toEqual([9, expect.stringContaining('`expo-worker base-image --force`')]);
});

test('the checksum of packageManager is that of the archive, and for Yarn 2 and newer that of its one file', () => {
  using it = image();
  const sum = (kind: string, text: string) => `${kind}.${createHash(kind).update(text).digest('hex')}`;
  for (const [tool, right] of [
    ['pnpm 10.15.0', sum('sha512', 'the archive')],
    ['yarn 1.22.22', sum('sha224', 'the archive')],
    ['yarn 4.9.2', sum('sha256', 'the one file')],
  ] as const) {
    expect(it.install(`${tool}+${right}`).status, tool).toBe(0);
    const { status, lines } = it.install(`${tool}+sha512.abc`);
    expect([status, lines.at(-1)]).toEqual([
      9,
      expect.stringMatching(/is not the one that `packageManager`.*not abc\.$/),
    ]);
  }
});

test('a gem is installed beside the one of the image, and its program chooses the wanted version', () => {
  using it = image();
  const { status, lines } = it.install('cocoapods 1.15.2\nfastlane 2.230.0\nbundler 2.5.3', 'pod; fastlane');
  expect(status, lines.join('\n')).toBe(0);
  expect(lines[0]).toBe('[tartbeat] Installing cocoapods 1.15.2; the image has 1.16.2.');
  expect(lines.slice(-4)).toEqual([
    'installation at /gems/9.9.9',
    'pod 1.15.2',
    'installation at /gems/9.9.9',
    'fastlane 2.230.0',
  ]);
  expect(it.recorded()[0]).toBe(
    `gem install --no-document --user-install --force --bindir ${it.home}/.tartbeat/expo/tools/gems --version 1.15.2 cocoapods`,
  );
});

test('a build that names no tool installs nothing', () => {
  using it = image();
  expect(it.install('')).toMatchObject({ status: 0, lines: [] });
});
