/** Tests the guest's keychain helper against a stand-in of macOS's `security` that records its calls. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';

const KEYCHAIN = resolve(import.meta.dirname, '../../vm-image/keychain');
const SHELLS = ['bash', 'dash'].filter((shell) => spawnSync(shell, ['-c', 'true']).status === 0);

/** Every call is a line: its arguments, then `<` and what `-i` read. */
const SECURITY = `#!/bin/sh
line="$*"; [ "$1" != -i ] || { IFS= read -r input; line="-i < $input"; }
printf '%s\\n' "$line" >>"$CALLS"
[ ! -e "$FAIL" ] || case $line in *"$(cat "$FAIL")"*) exit 1 ;; esac
case $line in
  *create-keychain*) : >"$TARTBEAT_STATE/build.keychain-db" ;;
  "list-keychains -d user") printf '    "%s"\\n' "/Users/admin/Library/Keychains/login.keychain-db" "/Library/a b.keychain" ;;
  find-identity*) [ -e "$EMPTY" ] || echo '  1) 0123ABCD "Apple Distribution: Example (TEAM)"'; echo '     1 valid identities found' ;;
  cms*) printf '<plist><dict>\\n<key>UUID</key>\\n\\t<string>%s</string></dict></plist>' "$(cat "$4")" ;;
  delete-keychain*) rm -f "$2" ;;
esac
`;

function guest(shell: string) {
  const dir = temporaryDir();
  const at = (name: string) => join(dir.path, name);
  for (const name of ['bin', 'state', 'secrets', 'home']) mkdirSync(at(name));
  writeFileSync(at('bin/security'), SECURITY, { mode: 0o755 });
  const env = {
    PATH: `${at('bin')}:${process.env.PATH}`,
    HOME: at('home'),
    TARTBEAT_STATE: at('state'),
    TARTBEAT_SECRETS: at('secrets'),
    CALLS: at('calls'),
    FAIL: at('fail'),
    EMPTY: at('empty'),
    P12_PASSWORD: 'pass "word\\',
  };
  const profiles = at('home/Library/MobileDevice/Provisioning Profiles');
  return {
    at,
    give: (name: string, content: string) => writeFileSync(at(`secrets/${name}`), content),
    run: (argument: string, change: Record<string, string> = {}) =>
      spawnSync(shell, [KEYCHAIN, argument], { env: { ...env, ...change }, encoding: 'utf8' }),
    calls: () => (existsSync(at('calls')) ? readFileSync(at('calls'), 'utf8').trimEnd().split('\n') : []),
    profiles: () => (existsSync(profiles) ? readdirSync(profiles) : []),
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}

for (const shell of SHELLS) {
  test(`${shell}: a keychain is made, unlocked, without time limit, its key open to codesign, first in the search list`, () => {
    using mac = guest(shell);
    mac.give('dist.p12', 'a certificate');
    mac.give('app.mobileprovision', 'UUID-1');
    const made = mac.run('create');
    const keychain = mac.at('state/build.keychain-db');
    expect([made.stderr, made.status, made.stdout]).toEqual(['', 0, `KEYCHAIN=${keychain}\n`]);
    const calls = mac.calls().map((call) => call.replace(/[0-9a-f]{48}/g, 'RANDOM'));
    expect(calls).toEqual([
      `-i <  "create-keychain" "-p" "RANDOM" "${keychain}"`,
      `set-keychain-settings ${keychain}`,
      `-i <  "unlock-keychain" "-p" "RANDOM" "${keychain}"`,
      `-i <  "import" "${mac.at('secrets/dist.p12')}" "-k" "${keychain}" "-f" "pkcs12" "-P" "pass \\"word\\\\" "-T" "/usr/bin/codesign" "-T" "/usr/bin/security" "-T" "/usr/bin/productbuild"`,
      `-i <  "set-key-partition-list" "-S" "apple-tool:,apple:,codesign:" "-s" "-k" "RANDOM" "${keychain}"`,
      'list-keychains -d user',
      `list-keychains -d user -s ${keychain} /Users/admin/Library/Keychains/login.keychain-db /Library/a b.keychain`,
      `find-identity -v -p codesigning ${keychain}`,
      `cms -D -i ${mac.at('secrets/app.mobileprovision')}`,
    ]);
    expect(mac.profiles()).toEqual(['UUID-1.mobileprovision']);
  });

  test(`${shell}: it is deleted with its profiles, and a second time without harm`, () => {
    using mac = guest(shell);
    mac.give('dist.p12', 'a certificate');
    mac.give('app.mobileprovision', 'UUID-1');
    expect(mac.run('create').status).toBe(0);
    for (const _ of [1, 2]) expect(mac.run('delete').status).toBe(0);
    expect(mac.calls().at(-1)).toBe(`delete-keychain ${mac.at('state/build.keychain-db')}`);
    expect([mac.profiles(), readdirSync(mac.at('state'))]).toEqual([[], []]);
  });

  for (const step of ['create-keychain', 'unlock', '"import"', 'set-key-partition-list', 'list-keychains -d user -s'])
    test(`${shell}: when ${step} fails it says so, and leaves no half keychain`, () => {
      using mac = guest(shell);
      mac.give('dist.p12', 'a certificate');
      writeFileSync(mac.at('fail'), step);
      const made = mac.run('create');
      expect([made.status, made.stdout, made.stderr]).toEqual([1, '', expect.stringMatching(/^keychain: .+\n$/)]);
      expect(readdirSync(mac.at('state'))).toEqual([]);
    });

  test(`${shell}: a build without the files, the identity or the profile it needs is told which`, () => {
    using mac = guest(shell);
    expect(mac.run('create').stderr).toContain('no *.p12');
    expect(mac.run('create', { TARTBEAT_SECRETS: '/nowhere' }).stderr).toContain('secretFiles');
    expect(mac.run('create', { TARTBEAT_STATE: '' }).stderr).toContain('TARTBEAT_STATE');
    mac.give('dist.p12', 'x');
    mac.give('bad.mobileprovision', '<>');
    expect(mac.run('create').stderr).toContain('bad.mobileprovision is not a provisioning profile');
    writeFileSync(mac.at('empty'), '');
    expect(mac.run('create').stderr).toContain('no identity');
    expect(mac.run('what').status).toBe(64);
  });
}

test('no password is ever an argument', () => {
  expect(SHELLS.length).toBeGreaterThan(0);
  const script = readFileSync(KEYCHAIN, 'utf8');
  for (const line of script.split('\n'))
    if (/-[pPk] "\$(password|\{P12)/.test(line)) expect(line.trim()).toMatch(/^quiet /);
  execFileSync('sh', ['-n', KEYCHAIN]);
});
