/**
 * Runs the guest's scripts for a build with the engine `eas` as the agent's script does, with the real
 * eas-cli and the real engine. Programs that only a Mac or an Android SDK has are recording stand-ins.
 */
import { execFile, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';
import { until } from '../../worker-agent/factories/until.ts';
import { asEasOnMac, TOKEN } from './expo-api.ts';

const GUEST = join(PROJECT_ROOT, 'vm-image/guest');

/** Does as little as the engine needs. `security` finds the identity of the certificate that was imported. */
const TOOL = `#!/bin/bash
name=\${0##*/}
echo "$name $*" >>"$RECORD/calls"
case "$name $1 $2" in
  'fastlane --version '*) echo 'fastlane 2.239.0' ;;
  'fastlane run create_keychain') : >"\${3#path:}" ;;
  'fastlane run import_certificate') if [ -e "$RECORD/refuse" ]; then echo "cannot import with $4" >&2; exit 1; fi ;;
  'fastlane gym '*)
    if [ -e "$RECORD/hang" ]; then : >"$RECORD/hangs"; sleep 60; fi
    cp */GoogleService-Info.plist "$RECORD" 2>/dev/null
    cp "$TMPDIR"/*/main.jsbundle "$RECORD/bundle.js" 2>/dev/null
    mkdir -p build; echo app >build/App.ipa ;;
  'pod --version '*) echo '1.16.2' ;;
  'pod install '*) mkdir -p Pods; : >Podfile.lock ;;
  'security cms -D') for f; do :; done; cat "$f" ;;
  'security find-identity '*) echo "  1) $(cat "$RECORD/fingerprint") \\"stub\\"" ;;
  'java '*)
    if [ -e "$RECORD/hang" ]; then : >"$RECORD/hangs"; sleep 60; fi
    cp ../credentials.json app/google-services.json "$RECORD" 2>/dev/null
    for one in "$TMPDIR"/*/index.js; do ! grep -q '__d(' "$one" 2>/dev/null || cp "$one" "$RECORD/bundle.js"; done
    mkdir -p app/build/outputs/bundle/release; echo app >app/build/outputs/bundle/release/app-release.aab ;;
esac
exit 0
`;
const TOOLS = ['fastlane', 'pod', 'security', 'xcodebuild', 'xcrun', 'java'];

export interface GuestBuild {
  code: number | null;
  log: string;
  /** The lines that Tartbeat printed. */
  says: string[];
  /** The stand-ins that ran, with their arguments. */
  calls: string[];
  /** Connections but those of eas-cli to the API: address and program. */
  connections: string[];
  seconds: number;
}

export interface Guest {
  home: string;
  state: string;
  record: string;
  build(options: BuildOptions): Promise<GuestBuild>;
}

export interface BuildOptions {
  platform: 'ios' | 'android';
  profile: string;
  appRoot?: string;
  token?: string;
  port?: number;
  secrets?: Record<string, string>;
  env?: Record<string, string>;
  install?: string;
  /** The build is killed, as for a cancel, once a stand-in has written this file into the record. */
  cancelWhen?: string;
  /** Put before the shell of the build. */
  wrapper?: readonly string[];
}

/** `packages` has eas-cli and the engine in its node_modules; `write` makes the source. */
export function makeGuest(dir: string, packages: string, write: (source: string) => void): Guest {
  const at = (path: string) => join(dir, path);
  const state = at('home/.tartbeat/b1-1');
  const record = at('record');
  for (const path of [
    'root/opt/homebrew/bin',
    'root/opt/homebrew/lib',
    'root/tmp',
    'tools',
    'record',
    'home/.tartbeat/b1-1/source',
  ])
    mkdirSync(at(path), { recursive: true });
  symlinkSync(join(packages, 'node_modules'), at('root/opt/homebrew/lib/node_modules'));
  for (const name of TOOLS) {
    writeFileSync(at(`tools/${name}`), TOOL);
    chmodSync(at(`tools/${name}`), 0o755);
  }
  write(join(state, 'source'));

  const build = async (options: BuildOptions): Promise<GuestBuild> => {
    const { platform, profile, appRoot = '.', token = TOKEN, port = 1, secrets = {}, env = {} } = options;
    const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
    const variables = {
      platform,
      profile,
      app_root: appRoot,
      workspace_root: '.',
      workflow: '',
      engine: 'eas',
      manager: 'npm',
      manager_install: options.install ?? 'npm ci --include=dev',
      tools: '',
      job: '',
      ask_number: '',
      notes: '',
      secret_env: Object.entries(secrets)
        .map(([name, value]) => `export ${name}=${quoted(value)}`)
        .join('\n'),
      git_ssh_key: '',
      git_known_hosts: '',
      netrc: '',
      npmrc: '',
      expo_token: token,
    };
    const lines = Object.entries(variables).map(([name, value]) => `${name}=${quoted(value)}`);
    writeFileSync(join(state, 'build.sh'), [...lines, `. ${quoted(join(GUEST, 'expo.sh'))}`, ''].join('\n'));
    const log = at('root/tmp/build.log');
    writeFileSync(log, '');
    const passed = Object.entries(process.env).filter(([name]) => /^(npm_config_|NODE_EXTRA_CA_CERTS$)/i.test(name));
    const began = performance.now();
    const script = `exec >>${quoted(log)} 2>&1; echo $$ >${quoted(join(state, 'build.pgid'))}; exec /bin/bash ${quoted(join(state, 'build.sh'))}`;
    const [program, ...words] = [...(options.wrapper ?? []), '/bin/bash', '-c', script];
    const child = spawn(program!, words, {
      cwd: join(state, 'source'),
      detached: true,
      stdio: 'ignore',
      env: {
        ...Object.fromEntries(passed),
        PATH: `${at('tools')}:${dirname(process.execPath)}:/usr/bin:/bin`,
        HOME: at('home'),
        CI: '1',
        TARTBEAT_ROOT: at('root'),
        TARTBEAT_STATE: state,
        RECORD: record,
        EXPO_LOCAL: '1',
        NODE_OPTIONS: asEasOnMac(port),
        ...env,
      },
    });
    const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
    if (options.cancelWhen) {
      await until(() => existsSync(join(record, options.cancelWhen!)), options.cancelWhen, 60_000);
      const kill = [join(GUEST, 'build.sh'), 'kill', 'b1-1', 'b1', '1'];
      await run('/bin/bash', kill, { env: { PATH: '/usr/bin:/bin', HOME: at('home'), TARTBEAT_ROOT: at('root') } });
    }
    const code = await ended;
    const text = readFileSync(log, 'utf8');
    const linesOf = (name: string) =>
      existsSync(join(record, name)) ? readFileSync(join(record, name), 'utf8').trim().split('\n') : [];
    return {
      code,
      log: text,
      says: text
        .split('\n')
        .filter((line) => line.startsWith('[tartbeat] '))
        .map((line) => line.slice(11)),
      calls: linesOf('calls'),
      connections: linesOf('connections'),
      seconds: (performance.now() - began) / 1_000,
    };
  };
  symlinkSync(join(packages, 'node_modules/eas-cli/bin/run'), at('root/opt/homebrew/bin/eas'));
  symlinkSync(process.execPath, at('root/opt/homebrew/bin/node'));
  return { home: at('home'), state, record, build };
}

const run = promisify(execFile);

/** A certificate that nobody but its owner trusts, and a profile that is the plist itself, unsigned. */
export async function makeSigning(dir: string, bundleId: string) {
  const at = (name: string) => join(dir, name);
  const subject = '/CN=Apple Distribution: Stub (TEAM000000)/OU=TEAM000000';
  const key = ['-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', at('key.pem'), '-out', at('cert.pem')];
  await run('openssl', ['req', '-x509', ...key, '-subj', subject]);
  const password = 'password-of-the-p12';
  const p12 = ['-inkey', at('key.pem'), '-in', at('cert.pem'), '-out', at('dist.p12'), '-passout', `pass:${password}`];
  await run('openssl', ['pkcs12', '-export', ...p12]);
  const { stdout: der } = await run('openssl', ['x509', '-in', at('cert.pem'), '-outform', 'der'], {
    encoding: 'buffer',
  });
  const { stdout: print } = await run('openssl', ['x509', '-in', at('cert.pem'), '-noout', '-fingerprint', '-sha1']);
  const profile = `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>Name</key><string>Stub</string>
<key>UUID</key><string>00000000-0000-0000-0000-000000000000</string><key>TeamIdentifier</key><array><string>TEAM000000</string></array>
<key>ExpirationDate</key><date>2036-01-01T00:00:00Z</date>
<key>DeveloperCertificates</key><array><data>${der.toString('base64')}</data></array>
<key>Entitlements</key><dict><key>application-identifier</key><string>TEAM000000.${bundleId}</string></dict></dict></plist>`;
  return {
    p12: readFileSync(at('dist.p12')).toString('base64'),
    password,
    profile: Buffer.from(profile).toString('base64'),
    fingerprint: print.trim().split('=')[1]!.replaceAll(':', ''),
  };
}
