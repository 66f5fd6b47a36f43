/** Tests what an image says of itself, and which data of this Mac an image for others leaves out. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { outcomesOf, type StandInMac, standInMac } from '../factories/stand-in-mac.ts';
import { authorizedKeys, guestScripts, inShells, KEY_BODY, keyFile, NAMES, step, version } from './provisioning.ts';

inShells(({ shell, inDetail }) => {
  inDetail('two images are told apart by what was put into them, and by nothing that belongs to one Mac', async () => {
    const digest = `sha256:${'0a'.repeat(32)}`;
    const made = async (change: (mac: StandInMac) => unknown, args: string[] = []) => {
      using mac = standInMac(shell);
      mac.remember('brew-version', '6.0.22');
      await change(mac);
      const outcome = await mac.guest('provision.sh', ['--only', 'image', '--base-digest', digest, ...args]);
      expect(outcome.status, outcome.stdout).toBe(0);
      const file = readFileSync(join(mac.root, 'usr/local/share/tartbeat/image'), 'utf8');
      expect(file).toMatch(new RegExp(`^digest=${digest}\nprovisioned=[0-9a-f]{64}\n$`));
      return /provisioned=(.*)/.exec(file)![1]!;
    };
    const filter = (address: string) => (mac: StandInMac) =>
      mac.guest('provision.sh', ['--only', 'private-networks', '--packet-filter', address]);
    const plain = await made(() => {});
    const ofOneMac = await made(async (mac) => {
      await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac)]);
      mac.remember('free-kb', '20000000');
    });
    expect(ofOneMac).toBe(plain);
    const filtered = await made(filter('192.0.2.7'));
    expect(await made(filter('192.0.2.8'))).toBe(filtered);
    const withXcode = await made((mac) => step(mac, 'xcode'));
    const withHomebrew = await made((mac) => step(mac, 'homebrew'));
    expect(new Set([plain, filtered, withXcode, withHomebrew]).size).toBe(4);
  });

  inDetail('an image that was changed later says so, and knows which steps were left out', async () => {
    using mac = standInMac(shell);
    const folder = join(mac.root, 'usr/local/share/tartbeat');
    const provision = () =>
      mac.guest(
        'provision.sh',
        NAMES.filter((name) => name !== 'image').flatMap((name) => ['--skip', name]),
      );
    await provision();
    expect(readFileSync(join(folder, 'image'), 'utf8')).toMatch(/^digest=\nprovisioned=/);
    expect(readFileSync(join(folder, 'provisioned'), 'utf8')).toContain(
      `skipped ${NAMES.filter((name) => name !== 'image')
        .sort()
        .join(' ')}\n`,
    );
    expect(await step(mac, 'image', ['--check'])).toMatchObject({
      word: 'ok',
      detail: expect.stringContaining('digest unknown'),
    });
    // Without --skip the image decides, for the steps and for what verify.sh looks at.
    const again = await mac.guest('provision.sh');
    expect(again.status, again.stdout).toBe(0);
    const { image, ...others } = outcomesOf(again);
    expect([image, new Set(NAMES.map((name) => others[name]))]).toEqual(['ok', new Set(['skipped', undefined])]);
    const xip = mac.file('Xcode.xip', 'xar!27.0');
    const fromFile = outcomesOf(await mac.guest('provision.sh', ['--check', '--xcode-file', xip]));
    expect([fromFile['xcode-download'], fromFile.xcode, fromFile.ruby]).toEqual(['missing', 'missing', 'skipped']);
    const all = outcomesOf(await mac.guest('provision.sh', ['--check', '--skip', 'none']));
    expect(NAMES.filter((name) => all[name] === 'skipped')).toEqual([]);
    const report = (...args: string[]) => mac.guest('verify.sh', ['--json', ...args], { user: 'admin' });
    const statusOf = async (...args: string[]) =>
      JSON.parse((await report(...args)).stdout).checks.find(({ id }: { id: string }) => id === 'eas_cli');
    expect(await statusOf()).toMatchObject({ status: 'skipped', detail: 'this image leaves it out' });
    const notAsked = NAMES.filter((name) => name !== 'eas-cli');
    expect(await statusOf(...['none', ...notAsked].flatMap((name) => ['--skip', name]))).toMatchObject({
      status: 'fail',
    });
    expect((await step(mac, 'xcode')).word).toBe('changed');
    expect((await step(mac, 'image', ['--check'])).detail).toContain('now xcode Xcode 26.6 Build version 17F113');
    expect((await step(mac, 'image')).word).toBe('changed');
    expect(readFileSync(join(folder, 'provisioned'), 'utf8')).toContain('skipped apple-certificates');
    // The step monitor replaces the folder, and keeps files that are not its own.
    expect((await step(mac, 'monitor')).word).toBe('changed');
    expect((await step(mac, 'image', ['--check'])).word).toBe('ok');
    for (const wrong of ['sha256:00', `sha256:${'X'.repeat(64)}`, 'latest'])
      expect((await mac.guest('provision.sh', ['--only', 'image', '--base-digest', wrong])).stdout).toContain(
        '--base-digest must be',
      );
  });

  inDetail('an image for others holds no key, host key or address of this Mac, and nobody’s credentials', async () => {
    using mac = standInMac(shell);
    const at = (path: string) => join(mac.root, path);
    const release = () => mac.guest('release-image.sh', ['--user', 'admin']);
    expect((await mac.guest('release-image.sh', ['--user', 'admin'], { user: 'admin' })).status).toBe(77);
    expect((await mac.guest('release-image.sh', [])).status).toBe(64);
    await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac)]);
    await mac.guest('provision.sh', ['--only', 'private-networks', '--packet-filter', '192.0.2.7']);
    for (const name of ['known-hosts', 'monitor', 'image']) expect((await step(mac, name)).status).toBe(0);
    for (const folder of ['etc/ssh', 'Users/admin/.tartbeat/b_1-1', 'Users/admin/.zsh_sessions'])
      mkdirSync(at(folder), { recursive: true });
    for (const file of ['etc/ssh/ssh_host_ed25519_key', 'etc/ssh/ssh_host_ed25519_key.pub', 'etc/ssh/sshd_config'])
      writeFileSync(at(file), 'x');
    for (const file of ['.zsh_history', '.tartbeat/b_1-1/monitor.log', '.zsh_sessions/1'])
      writeFileSync(join(mac.home, file), '192.0.2.7');
    writeFileSync(join(mac.home, '.ssh/known_hosts'), 'git.office.example ssh-ed25519 AAAA\n', { flag: 'a' });
    const home = 'Users/admin/';
    const identity = `${'0A'.repeat(20)} "Apple Distribution: Acme (AAAAAAAAAA)" (CSSMERR_TP_CERT_EXPIRED)\n`;
    const secrets: Record<string, string> = {
      [`${home}.netrc`]: 'machine a',
      [`${home}.npmrc`]: '//a/:_authToken=hunter22',
      [`${home}.ssh/id_ed25519`]: 'x',
      [`${home}.ssh/deploy`]: '-----BEGIN OPENSSH PRIVATE KEY-----\n',
      [`${home}a.p12`]: 'x',
      [`${home}Downloads/upload.jks`]: 'x',
      [`${home}.expo/state.json`]: '{"auth":{"sessionSecret":"hunter22"}}',
      [`${home}.gradle/gradle.properties`]: 'ACME_UPLOAD_STORE_PASSWORD=hunter22\n',
      [`${home}.m2/settings.xml`]: '<server><password>hunter22</password></server>',
      [`${home}.bundle/config`]: '---\nBUNDLE_GEM__FURY__IO: "hunter22"\n',
      [`${home}.appstoreconnect/private_keys/AuthKey_A.p8`]: 'x',
      [`${home}private_keys/AuthKey_B.p8`]: 'x',
      [`${home}Library/Developer/Xcode/UserData/Provisioning Profiles/a.mobileprovision`]: 'x',
      [`${home}Library/Keychains/login.keychain-db`]: identity,
      'Library/Keychains/System.keychain': identity,
      [`${home}.zshrc`]: "export EXPO_TOKEN='hunter22'\n",
      [`${home}.zprofile`]: '  GITHUB_TOKEN=hunter22\n',
      [`${home}.bash_profile`]: 'export MATCH_PASSWORD=hunter22\n',
      'var/root/.netrc': 'machine a',
      'var/root/.npmrc': '//a/:_password=hunter22',
    };
    // Files without a secret are no reason to refuse.
    const harmless: Record<string, string> = {
      [`${home}.npmrc`]: 'fund=false\n',
      [`${home}.expo/state.json`]: '{"uuid":"x"}',
      [`${home}.gradle/gradle.properties`]: 'org.gradle.jvmargs=-Xmx4g\n',
      [`${home}.bundle/config`]:
        '---\nBUNDLE_PATH: "vendor"\nBUNDLE_BUILD__NOKOGIRI: "--use-system"\nBUNDLE_GEM__TEST: "rspec"\n',
      [`${home}.zshrc`]: 'export PATH="$HOME/bin:$PATH"\n',
      [`${home}Library/Keychains/login.keychain-db`]: '',
      'Library/Keychains/System.keychain': `${'0B'.repeat(20)} "com.apple.systemdefault"\n`,
    };
    const writeAll = (files: Record<string, string>) => {
      for (const [file, text] of Object.entries(files)) {
        mkdirSync(at(join(file, '..')), { recursive: true });
        writeFileSync(at(file), text);
      }
    };
    writeAll(secrets);
    const refused = await release();
    expect(refused.status).toBe(1);
    const named = refused.stderr.split('\n').filter((line) => line.startsWith('    '));
    expect(named.map((line) => line.trim().replace(/ \(.*/, '')).sort()).toEqual(Object.keys(secrets).map(at).sort());
    expect(refused.stderr).not.toContain('hunter22');
    expect(existsSync(authorizedKeys(mac))).toBe(true);
    for (const file of Object.keys(secrets)) rmSync(at(file));
    writeAll(harmless);

    const before = readFileSync(at('usr/local/share/tartbeat/provisioned'), 'utf8');
    expect(before).toContain('packet-filter on');
    const released = await release();
    expect(released.status, released.stderr).toBe(0);
    const left = Object.entries(mac.contents()).flat();
    for (const trace of ['192.0.2.7', KEY_BODY, 'etc/ssh/ssh_host_ed25519_key', 'git.office.example'])
      expect(left.filter((text) => text.includes(trace)).map((text) => text.slice(0, 80))).toEqual([]);
    expect(existsSync(at('etc/ssh/sshd_config'))).toBe(true);
    expect(guestScripts(mac)).toEqual([version]);
    expect(readFileSync(at('usr/local/share/tartbeat/provisioned'), 'utf8')).toBe(
      before.replace('packet-filter on', 'packet-filter off'),
    );
    for (const name of ['known-hosts', 'monitor', 'image'])
      expect((await step(mac, name, ['--check'])).word).toBe('ok');
  });
});
