/** Tests the stand-in for `security` that Expo's engines get, against a stand-in of the real one. */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect } from 'vitest';
import { testWith } from '../../set-up/test-with.ts';
import { DISTRIBUTION, LOGIN, RELEASES, signingMac } from '../factories/signing-mac.ts';

const SECURITY = resolve(import.meta.dirname, '../../../vm-image/guest/security.sh');
const withBash = testWith('bash');
const BUILT = '/tmp/eas-build-1.keychain';
const OTHER = { ...DISTRIBUTION, sha1: 'F'.repeat(40), name: 'Apple Development: Somebody (X)', needs: 'no such root' };
const ASKED = ['find-identity', '-v', '-s', '(ABCDE12345)', BUILT];
const NEW = RELEASES.filter((release) => release !== '15.7.1');

/** As the engine leaves it: created, unlocked, in the search list, with the certificate imported. */
function engineMac(
  release: string,
  identities = [DISTRIBUTION],
  change: { search?: string[]; fails?: string; hangs?: string } = {},
) {
  const mac = signingMac(release, { keychains: { [BUILT]: identities }, search: [BUILT, LOGIN], ...change });
  mkdirSync(mac.at('home/.tartbeat/expo'), { recursive: true });
  return mac;
}

withBash('macOS 15 has the real answer, and codesign is not asked', () => {
  using mac = engineMac('15.7.1');
  const answer = mac.run('bash', SECURITY, ASKED);
  expect(answer.stdout).toBe(`  1) ${DISTRIBUTION.sha1} "${DISTRIBUTION.name}"\n     1 valid identities found\n`);
  expect(mac.calls()).toEqual([`security ${ASKED.join(' ')}`]);
});

for (const release of NEW) {
  withBash(`macOS ${release}: the engine sees the identity that codesign has proved, and no other`, () => {
    using mac = engineMac(release, [OTHER, DISTRIBUTION]);
    const answer = mac.run('bash', SECURITY, ASKED);
    expect([answer.status, answer.stderr]).toEqual([0, '']);
    expect(answer.stdout).toBe(`  1) ${DISTRIBUTION.sha1} "${DISTRIBUTION.name}"\n     1 valid identities found\n`);
    expect(mac.calls().filter((call) => call.startsWith('security'))).toEqual([
      `security find-identity -s (ABCDE12345) ${BUILT}`,
    ]);
    expect(mac.calls().filter((call) => call.startsWith('codesign --force')).length).toBe(2);
    expect(readFileSync(mac.at('home/.tartbeat/expo/signing.log'), 'utf8')).toMatch(
      new RegExp(`^codesign cannot sign with ${OTHER.sha1}: Warning: unable to build chain`),
    );
    expect(readdirSync(mac.at('tmp'))).toEqual([]);
  });

  for (const [why, identities, change] of [
    ['no identity was imported', [], {}],
    ['the keychain is not in the search list', [DISTRIBUTION], { search: [LOGIN] as string[] }],
    ['codesign fails', [DISTRIBUTION], { fails: 'codesign -v' }],
  ] as const)
    withBash(`macOS ${release}: where ${why}, the real answer stays`, () => {
      using mac = engineMac(release, [...identities], change);
      const answer = mac.run('bash', SECURITY, ASKED);
      expect([answer.status, answer.stdout]).toEqual([0, '     0 valid identities found\n']);
      expect(mac.calls().at(-1)).toBe(`security ${ASKED.join(' ')}`);
      expect(readdirSync(mac.at('tmp'))).toEqual([]);
    });

  withBash(`macOS ${release}: a keychain that does not exist is told by the real program, with its exit code`, () => {
    using mac = engineMac(release);
    const answer = mac.run('bash', SECURITY, [...ASKED.slice(0, 4), '/none']);
    expect([answer.status, answer.stderr]).toEqual([1, expect.stringContaining('could not be found')]);
  });

  withBash(`macOS ${release}: every other call has its arguments, its input and its exit code as they are`, () => {
    using mac = engineMac(release);
    const words = ['', 'a b', '"c"', '$HOME', '*', '-v', 'x\ny'];
    const echo = mac.run('bash', SECURITY, ['echo-input', ...words], {}, 'line 1\nline 2\n');
    expect([echo.status, echo.stdout]).toEqual([0, `line 1\nline 2\n${words.map((word) => `<${word}>\n`).join('')}`]);
    const list = mac.run('bash', SECURITY, ['-i'], {}, '"list-keychains" "-d" "user"\n');
    expect(list.stdout).toBe(`    "${BUILT}"\n    "${LOGIN}"\n`);
    for (const args of [
      ['find-identity', '-v', '-p', 'codesigning', BUILT],
      ['find-identity', '-v', BUILT],
      ['find-identity', '-v', '-s', '(X)', '-p', 'codesigning', BUILT],
    ]) {
      expect(mac.run('bash', SECURITY, args).stdout).toBe('     0 valid identities found\n');
      expect(mac.calls().at(-1)).toBe(`security ${args.join(' ')}`);
    }
    expect(mac.run('bash', SECURITY, ['what']).status).toBe(1);
    expect(mac.calls().some((call) => call.startsWith('codesign'))).toBe(false);
  });
}

withBash('a codesign that waits for a click is killed, and the reason is told', () => {
  using mac = engineMac('26.1', [DISTRIBUTION], { hangs: 'codesign --force' });
  expect(mac.run('bash', SECURITY, ASKED).stdout).toBe('     0 valid identities found\n');
  expect(readFileSync(mac.at('home/.tartbeat/expo/signing.log'), 'utf8')).toBe(
    `codesign cannot sign with ${DISTRIBUTION.sha1}: it did not end within 20 s, so it waits for a click: the key is not opened to it.\n`,
  );
  expect(readdirSync(mac.at('tmp'))).toEqual([]);
});

withBash('a keychain is known to codesign by the name of its file', () => {
  using mac = signingMac('26.1');
  const file = mac.at('tmp/eas-build-1.keychain-db');
  using made = signingMac('26.1', { keychains: { [file]: [DISTRIBUTION] }, search: [file] });
  writeFileSync(file, '');
  const answer = made.run('bash', SECURITY, [...ASKED.slice(0, 4), file.replace(/-db$/, '')]);
  expect(answer.stdout).toContain('1 valid identities found');
  expect(made.calls()[1]).toContain(`--keychain ${file} `);
});

withBash('it works by the name security, as a link and as a wrapper, first on the PATH', () => {
  using mac = engineMac('26.1');
  mkdirSync(mac.at('expo'));
  symlinkSync(SECURITY, mac.at('expo/security'));
  mkdirSync(mac.at('wrapped'));
  writeFileSync(mac.at('wrapped/security'), `#!/bin/bash\nexec bash ${SECURITY} "$@"\n`, { mode: 0o755 });
  for (const folder of ['expo', 'wrapped']) {
    const path = { PATH: `${mac.at(folder)}:${mac.at('bin')}:${process.env.PATH}` };
    const answer = mac.run('bash', '-c', [`security find-identity -v -s '(ABCDE12345)' ${BUILT}`], path);
    expect(answer.stdout).toContain('1 valid identities found');
  }
});

withBash('a system that does not tell its release has the real answer', () => {
  using mac = engineMac('');
  expect(mac.run('bash', SECURITY, ASKED).stdout).toContain('valid identities found');
  expect(mac.calls()).toEqual([`security ${ASKED.join(' ')}`]);
});
