/**
 * Makes an image's own tools for the tests with real packages: a PATH that has the Node of the tests, npm,
 * mise and the system's tools, and no package manager but npm.
 */
import { existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa, execaSync } from 'execa';
import { installed } from './engine-packages.ts';

export const GUEST_SCRIPTS = join(import.meta.dirname, '../../../vm-image/guest');

/** The programs that macOS has in /usr/bin and /bin, as far as the scripts and the managers use them. */
const SYSTEM =
  'awk base64 basename bash cat chmod cp cut date dirname env expr find git grep head hostname id ln ls mkdir mktemp mv openssl ps pwd readlink rm rmdir sed sh sleep sort ssh ssh-add ssh-agent ssh-keygen stat tail tar tee touch tr true uname uniq wc which xargs gzip git-upload-pack'.split(
    ' ',
  );

export const MISE = '@jdxcode/mise-linux-x64@2026.9.15';

export interface Image {
  home: string;
  path: string;
  /** Runs lines of bash in the image, in this folder. Returns their output, also when they fail. */
  run(script: string, options: { cwd: string; env?: NodeJS.Dict<string> }): Promise<{ code: number; output: string }>;
}

/** Makes the image in `dir`, a folder of the test, which the test removes. */
export async function imageTools(dir: string): Promise<Image> {
  const bin = join(dir, 'image/bin');
  const home = join(dir, 'home');
  mkdirSync(bin, { recursive: true });
  mkdirSync(home);
  const link = (name: string, target: string) => symlinkSync(target, join(bin, name));
  for (const name of SYSTEM) {
    const place = ['/usr/bin', '/bin', '/usr/sbin'].map((folder) => join(folder, name)).find(existsSync);
    if (place !== undefined) link(name, place);
  }
  link('node', process.execPath);
  const npm = dirname(realpathSync(execaSync('which', ['npm']).stdout));
  link('npm', join(npm, 'npm-cli.js'));
  link('npx', join(npm, 'npx-cli.js'));
  link('mise', join(await installed([MISE]), 'node_modules/@jdxcode/mise-linux-x64/bin/mise'));
  writeFileSync(join(home, '.gitconfig'), '[user]\n\tname = test\n\temail = test@example.com\n');
  return {
    home,
    path: bin,
    async run(script, { cwd, env = {} }) {
      const { exitCode, all } = await execa('/bin/bash', ['-c', script], {
        cwd,
        env: {
          PATH: bin,
          HOME: home,
          CI: '1',
          LANG: 'C.UTF-8',
          // A test must not depend on the registry's answer to questions that no build needs.
          npm_config_audit: 'false',
          npm_config_fund: 'false',
          ...Object.fromEntries(
            ['https_proxy', 'HTTPS_PROXY', 'npm_config_registry', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE'].map(
              (name) => [name, process.env[name]],
            ),
          ),
          ...env,
        },
        extendEnv: false,
        reject: false,
        all: true,
        stdin: 'ignore',
        timeout: 240_000,
      });
      return { code: exitCode ?? -1, output: all };
    },
  };
}
