/** Makes a Mac with stand-ins of `security`, `codesign` and `sw_vers`. Tests see calls and keychains. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

export interface P12 {
  password: string;
  sha1: string;
  name: string;
  hasKey: boolean;
  /** Whether OpenSSL 3 wrote it with its defaults. */
  isModern?: boolean;
  /** The certificate that its chain needs, unless it is in the system already. */
  needs?: string;
}

interface SigningState {
  search: string[];
  /** A call that contains this text fails. */
  fails: string;
  /** A call that contains this text never ends, and time passes quickly. */
  hangs: string;
  /** Keychains that are unlocked, with identities that are opened to codesign. */
  keychains: Record<string, P12[]>;
}

const STAND_IN = join(import.meta.dirname, '../stand-ins/signing.sh');
export const RELEASES = ['15.7.1', '26.1', '27.0'] as const;
export const P12_PASSWORD = 'pass "word\\ü';
export const LOGIN = '/Users/admin/Library/Keychains/login.keychain-db';

export const DISTRIBUTION: P12 = {
  password: P12_PASSWORD,
  sha1: '0123456789ABCDEF0123456789ABCDEF01234567',
  name: 'Apple Distribution: Example (ABCDE12345)',
  hasKey: true,
};

export function signingMac(macos: string = RELEASES[0], change: Partial<SigningState> = {}) {
  const { search = [LOGIN, '/Library/a b.keychain'], fails = '', hangs = '', keychains = {} } = change;
  const dir = temporaryDir();
  const at = (name: string) => join(dir.path, name);
  for (const name of ['bin', 'state', 'secrets', 'home', 'root/usr/bin', 'tmp', 'keychains'])
    mkdirSync(at(name), { recursive: true });
  for (const program of ['security', 'codesign', 'sw_vers']) symlinkSync(STAND_IN, at(`bin/${program}`));
  if (hangs) writeFileSync(at('bin/sleep'), '#!/bin/sh\n', { mode: 0o755 });
  symlinkSync(STAND_IN, at('root/usr/bin/security'));
  writeFileSync(at('root/usr/bin/true'), 'a small program\n', { mode: 0o755 });
  const write = (name: string, lines: string[]) => writeFileSync(at(name), lines.map((line) => `${line}\n`).join(''));
  const lines = { macos: [macos], fails: [fails], hangs: [hangs], system: [], search };
  for (const [name, content] of Object.entries(lines)) write(name, content);
  for (const [path, identities] of Object.entries(keychains)) {
    const folder = `keychains/${path.replaceAll('/', '_')}`;
    mkdirSync(at(folder));
    write(`${folder}/others`, []);
    write(
      `${folder}/identities`,
      identities.map(({ sha1, name, needs = '' }) => `${sha1}|${name}|${needs}|open`),
    );
  }
  const env = {
    PATH: `${at('bin')}:${process.env.PATH}`,
    HOME: at('home'),
    TMPDIR: at('tmp'),
    TARTBEAT_ROOT: at('root'),
    TARTBEAT_STATE: at('state'),
    TARTBEAT_SECRETS: at('secrets'),
    SIGNING_STATE: dir.path,
    P12_PASSWORD,
  };
  return {
    at,
    keychain: at('state/build.keychain-db'),
    give(name: string, content: string | P12) {
      const path = at(`secrets/${name}`);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, typeof content === 'string' ? content : fieldsOf(content).join('|'));
    },
    run: (shell: string, script: string, args: string[], more: Record<string, string> = {}, input = '') =>
      spawnSync(shell, [script, ...args], { env: { ...env, ...more }, encoding: 'utf8', input }),
    search: () => readFileSync(at('search'), 'utf8').trimEnd().split('\n'),
    calls: () => (existsSync(at('calls')) ? readFileSync(at('calls'), 'utf8').trimEnd().split('\n') : []),
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}

/** The part of a call that `ps` shows. The input of `security -i` follows it. */
export const argumentsOf = (call: string): string => call.split(' < ')[0]!;

const fieldsOf = ({ password, sha1, name, hasKey, isModern = false, needs = '' }: P12) => [
  password,
  sha1,
  name,
  hasKey ? 'key' : '',
  isModern ? 'modern' : '',
  `${needs}\n`,
];
