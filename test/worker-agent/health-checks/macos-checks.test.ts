/** Shows that each known problem of a Mac, as its own commands print it, is found, named and has advice. */
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'plist';
import { expect, test } from 'vitest';
import { wrapped } from '../../../local/prose.ts';
import { ConfigError } from '../../../worker-agent/config-findings.ts';
import type { VmCheckContext } from '../../../worker-agent/health-checks/ask-vm.ts';
import { doctorChecks } from '../../../worker-agent/health-checks/check-up.ts';
import { IMAGE_CHECKS } from '../../../worker-agent/health-checks/image-checks.ts';
import { LAUNCHD_CHECKS } from '../../../worker-agent/health-checks/launchd-checks.ts';
import { MACOS_CHECKS } from '../../../worker-agent/health-checks/macos-checks.ts';
import { type HealthCheck, runChecks } from '../../../worker-agent/health-checks/run-checks.ts';
import { jobOf } from '../../../worker-agent/mac/launchd-plist.ts';
import type { Mac } from '../../../worker-agent/mac/programs.ts';
import type { Tart } from '../../../worker-agent/tart/tart.ts';
import { standInMac } from '../factories/stand-in-mac.ts';

const signal = new AbortController().signal;
const PMSET = (more: Record<string, number>) =>
  `cat <<'END'
System-wide power settings:
Currently in use:
${Object.entries({ sleep: 0, disksleep: 0, displaysleep: 10, autorestart: 1, ...more })
  .map(([name, value]) => ` ${name.padEnd(20)} ${value}${name === 'sleep' ? ' (sleep prevented by caffeinate)' : ''}`)
  .join('\n')}
END`;
const DEFAULTS = (values: Record<string, string>) =>
  `case "$3" in ${Object.entries(values)
    .map(([name, value]) => `${name}) echo '${value}' ;;`)
    .join(' ')} *) echo "The domain/default pair does not exist" >&2; exit 1 ;; esac`;
const GOOD = {
  AutomaticallyInstallMacOSUpdates: '0',
  autoLoginUser: 'admin',
  bootpd: '{ DHCPLeaseTimeSecs = 600; }',
};
const LOADED = (service: string) =>
  `[ "$2" = '${service}' ] || { echo "Could not find service" >&2; exit 113; }; printf '\\tstate = running\\n\\tpid = 4711\\n'`;

/** A Mac that passes every check, until the test changes something. */
function wellKeptMac() {
  const stand = standInMac();
  const { command, file } = stand;
  command('sw_vers', 'echo 26.4');
  command('uname', 'echo arm64');
  command('pmset', PMSET({}));
  command('defaults', DEFAULTS(GOOD));
  command('stat', 'echo admin');
  command('fdesetup', 'echo FileVault is Off.');
  command('security', 'echo "Keychain login.keychain-db no-timeout" >&2');
  command('socketfilterfw', 'echo "Firewall has block all state set to disabled."');
  command('ps', `printf '  1 /sbin/launchd\\n'`);
  command('id', 'echo 501');
  command('dscl', 'echo "NFSHomeDirectory: /Users/admin"');
  command('launchctl', LOADED('system/tartbeat.expo-worker'));
  const job = (change: object = {}) =>
    build({
      ...jobOf({
        kind: 'daemon',
        account: { name: 'admin', uid: 501, home: '/Users/admin' },
        nodePath: '/opt/homebrew/bin/node',
        scriptPath: '/opt/homebrew/bin/expo-worker',
        configPath: '/Users/admin/.expo-worker/config.json',
        exitTimeoutSeconds: 9_000,
      }),
      ...change,
    });
  file('Library/LaunchDaemons/tartbeat.expo-worker.plist', job());
  return { ...stand, job, [Symbol.dispose]: () => stand[Symbol.dispose]() };
}
type Stand = ReturnType<typeof wellKeptMac>;

const OF_MACOS = [...MACOS_CHECKS, ...LAUNCHD_CHECKS];

const tart = (running: number) =>
  ({
    list: async () => ({
      ok: true,
      vms: Array.from({ length: running }, (_, i) => ({ name: `v${i}`, source: 'local', state: 'running' })),
    }),
  }) as unknown as Tart;

async function checked(mac: Mac, ids?: string[], running = 0) {
  const chosen = OF_MACOS.filter(({ id }) => !ids || ids.includes(id));
  const context = { configPath: '/none', config: new ConfigError('/none', []), tart: () => tart(running), mac };
  return await runChecks(chosen, context, { signal });
}
const one = async (stand: Stand, id: string, running = 0) => (await checked(stand.mac, [id], running))[0]!;

test('on a well-kept Mac all of them pass', async () => {
  using stand = wellKeptMac();
  expect((await checked(stand.mac)).filter(({ status }) => status !== 'pass')).toEqual([]);
});

test('elsewhere than on a Mac all are skipped, with the reason, and nothing is run', async () => {
  using stand = wellKeptMac();
  const results = await checked({ ...stand.mac, platform: 'linux' });
  expect(new Set(results.map(({ status }) => status))).toEqual(new Set(['skipped']));
  expect(results[0]!.detail).toBe('only macOS has this');
  expect(stand.calls()).toEqual([]);
});

test('a command that is missing or fails is the finding of its check, in one line', async () => {
  using stand = wellKeptMac();
  stand.command('pmset', 'echo usage >&2; exit 64');
  expect(await one(stand, 'host_sleep')).toMatchObject({ status: 'fail', detail: 'pmset failed (64): usage' });
});

const PROBLEMS: [id: string, what: string, spoil: (stand: Stand) => void, detail: RegExp, running?: number][] = [
  ['macos_version', 'a chip of another maker', ({ command }) => command('uname', 'echo x86_64'), /x86_64/],
  ['macos_version', 'too old', ({ command }) => command('sw_vers', 'echo 14.8'), /macOS 14\.8; Tart needs 15/],
  ['macos_version', 'stops VMs', ({ command }) => command('sw_vers', 'echo 15.7.7'), /graphics processor/],
  ['macos_version', 'loses VM slots', ({ command }) => command('sw_vers', 'echo 26.3'), /VM slots/],
  [
    'macos_version',
    'a chip with which restarts fail',
    ({ command }) => {
      command('sw_vers', 'echo 26.7');
      command('sysctl', 'echo Apple M5 Max');
    },
    /^macOS 26\.7: with this chip/,
  ],
  ['host_sleep', 'sleeps', ({ command }) => command('pmset', PMSET({ sleep: 15 })), /^sleep after 15 min$/],
  ['host_sleep', 'stops disks', ({ command }) => command('pmset', PMSET({ disksleep: 10 })), /disksleep after 10/],
  ['power_loss', 'stays off', ({ command }) => command('pmset', PMSET({ autorestart: 0 })), /autorestart 0/],
  ['automatic_updates', 'not set', ({ command }) => command('defaults', DEFAULTS({})), /not set: on/],
  ['gui_session', 'nobody', ({ command }) => command('stat', 'echo root'), /nobody is logged in/],
  ['gui_session', 'somebody else', ({ command }) => command('stat', 'echo eve'), /eve is logged in/],
  ['automatic_login', 'FileVault', ({ command }) => command('fdesetup', 'echo FileVault is On.'), /FileVault is on/],
  ['automatic_login', 'off', ({ command }) => command('defaults', DEFAULTS({})), /automatic login is off/],
  [
    'login_keychain',
    'locked',
    ({ command }) =>
      command('security', 'echo "SecKeychainCopySettings: User interaction is not allowed." >&2; exit 36'),
    /User interaction is not allowed/,
  ],
  ['dhcp_lease', 'a day', ({ command }) => command('defaults', DEFAULTS({})), /the lease is a day/],
  [
    'dhcp_lease',
    'long',
    ({ command }) => command('defaults', DEFAULTS({ bootpd: '{ DHCPLeaseTimeSecs = 86400; }' })),
    /86400 s/,
  ],
  [
    'dhcp_pool',
    'used up',
    ({ file }) =>
      file(
        'var/db/dhcpd_leases',
        leases(230, (i) => `192.168.64.${i}`),
      ),
    /230 of some/,
  ],
  [
    'dhcp_pool',
    'twice',
    ({ file }) =>
      file(
        'var/db/dhcpd_leases',
        leases(2, () => '192.168.64.5'),
      ),
    /64\.5 is given to two/,
  ],
  [
    'firewall',
    'blocks all',
    ({ command }) => command('socketfilterfw', 'echo "Firewall has block all state set to enabled."'),
    /blocks all/,
  ],
  [
    'firewall',
    'blocks bootpd',
    ({ command }) => command('socketfilterfw', '[ "$1" = --getblockall ] || echo "The application is blocked"'),
    /blocks bootpd/,
  ],
  [
    'stale_vm_processes',
    'one too many',
    ({ command }) =>
      command(
        'ps',
        `printf ' 812 /S/XPCServices/com.apple.Virtualization.VirtualMachine\\n 813 /x/com.apple.Virtualization.VirtualMachine\\n'`,
      ),
    /^2 VM processes \(812, 813\), and tart list shows 1 running$/,
    1,
  ],
  [
    'kernel_panics',
    'yesterday',
    ({ file }) => file('Library/Logs/DiagnosticReports/Kernel-1.panic', ''),
    /^1 in a week/,
  ],
  ['launchd_job', 'by hand', (stand) => uninstalled(stand), /it is not installed/],
  ['launchd_job', 'not loaded', ({ command }) => command('launchctl', 'exit 113'), /installed and not loaded/],
  [
    'launchd_job',
    'slowed',
    (stand) => stand.file('Library/LaunchDaemons/tartbeat.expo-worker.plist', stand.job({ ProcessType: 'Background' })),
    /not Interactive/,
  ],
  [
    'launchd_job',
    'takes VMs with it',
    (stand) =>
      stand.file('Library/LaunchDaemons/tartbeat.expo-worker.plist', stand.job({ AbandonProcessGroup: false })),
    /kills its VMs/,
  ],
  [
    'launchd_job',
    'does not start',
    ({ command }) =>
      command(
        'launchctl',
        `[ "$2" = system/tartbeat.expo-worker ] || exit 113; printf '\\tstate = spawn scheduled\\n\\tlast exit code = 2\\n'`,
      ),
    /not running; it ended with 2/,
  ],
  [
    'launchd_job',
    'both kinds',
    ({ file, job }) => file('Users/admin/Library/LaunchAgents/tartbeat.expo-worker.plist', job()),
    /both a LaunchDaemon and a LaunchAgent/,
  ],
  [
    'local_network',
    'a LaunchAgent',
    ({ command }) => command('launchctl', LOADED('gui/501/tartbeat.expo-worker')),
    /LaunchAgent, and only root may look/,
  ],
  [
    'local_network',
    'a LaunchAgent before the allow list',
    ({ command }) => {
      command('launchctl', LOADED('gui/501/tartbeat.expo-worker'));
      command('sw_vers', 'echo 15.4');
    },
    /LaunchAgent, and this check cannot see/,
  ],
];

test.each(PROBLEMS)('%s: %s', async (id, _, spoil, detail, running = 0) => {
  using stand = wellKeptMac();
  spoil(stand);
  const result = await one(stand, id, running);
  expect(result.detail).toMatch(detail);
  expect(['warn', 'fail']).toContain(result.status);
  expect(result.fix).not.toBeNull();
});

test('of the two lists of Local Network both must have the network of the VMs, and root may look', async () => {
  using stand = wellKeptMac();
  stand.command('launchctl', LOADED('gui/501/tartbeat.expo-worker'));
  const root = { ...stand.mac, uid: 0 };
  const outcome = async (ethernet: string, wifi: string) => {
    stand.command(
      'defaults',
      DEFAULTS({ AllowedEthernetLocalNetworkAddresses: ethernet, AllowedWiFiLocalNetworkAddresses: wifi }),
    );
    return (await checked(root, ['local_network']))[0]!;
  };
  expect((await outcome('( "192.168.64.0/24" )', '( "10.0.0.0/8", "192.168.0.0/16" )')).status).toBe('pass');
  const half = await outcome('( "192.168.64.0/24" )', '( "192.168.65.0/24" )');
  expect(half.detail).toBe(
    'the agent is a LaunchAgent, and AllowedWiFiLocalNetworkAddresses lacks the network of 192.168.64.1',
  );
  expect(half.fix).toContain('AllowedWiFiLocalNetworkAddresses -array 192.168.64.0/24');
});

test('a version that fails with one chip is fine with another', async () => {
  using stand = wellKeptMac();
  stand.command('sw_vers', 'echo 26.7');
  stand.command('sysctl', 'echo Apple M4 Pro');
  expect(await one(stand, 'macos_version')).toMatchObject({ status: 'pass', detail: 'macOS 26.7' });
});

test('each of these checks is spoiled by at least one of the problems', () => {
  expect([...new Set(PROBLEMS.map(([id]) => id))].sort()).toEqual(OF_MACOS.map(({ id }) => id).sort());
});

test('what is not a problem is not called one', async () => {
  using stand = wellKeptMac();
  stand.file(
    'var/db/dhcpd_leases',
    leases(240, (i) => `192.168.64.${i}`, 1_000),
  );
  expect(await one(stand, 'dhcp_pool')).toMatchObject({ status: 'pass', detail: '0 in use' });
  const reports = join(stand.root, 'Library/Logs/DiagnosticReports');
  mkdirSync(reports, { recursive: true });
  writeFileSync(join(reports, 'old.panic'), '');
  utimesSync(join(reports, 'old.panic'), 1_000, 1_000);
  expect((await one(stand, 'kernel_panics')).status).toBe('pass');
  stand.command('sw_vers', 'echo 14.6');
  stand.command('launchctl', LOADED('gui/501/tartbeat.expo-worker'));
  expect((await one(stand, 'local_network')).detail).toBe('macOS 14.6 does not ask');
  stand.command('socketfilterfw', '[ "$1" = --getblockall ] || echo "The application is not blocked"');
  expect((await one(stand, 'firewall')).status).toBe('pass');
});

const vmThatSays = (stdout: string) =>
  ({ vm: { ssh: { exec: async () => ({ exitCode: 0, stdout: Buffer.from(stdout), stderr: '' }) } } }) as never;

test.each([
  ['', 'skipped', /not made by vm-image/],
  ['not JSON', 'warn', /something else/],
  [
    JSON.stringify({ macos: '26.4', ok: true, checks: [{ id: 'curl', status: 'pass', detail: '', fix: null }] }),
    'pass',
    /26\.4/,
  ],
  [
    JSON.stringify({
      macos: '26.4',
      ok: false,
      checks: [{ id: 'xcode', status: 'fail', detail: 'none', fix: 'install it' }],
    }),
    'warn',
    /^xcode: none$/,
  ],
])('the image says of itself %s', async (stdout, status, detail) => {
  const checks = IMAGE_CHECKS as readonly HealthCheck<VmCheckContext>[];
  const [result] = await runChecks(checks, vmThatSays(stdout), { signal });
  expect(result).toMatchObject({ status, detail: expect.stringMatching(detail) });
});

test('docs/doctor.md has every check in the words of the code (`npx vitest run test/worker-agent/health-checks/macos-checks.test.ts -u` writes it)', async () => {
  const checks = doctorChecks({ vmName: 'tartbeat-doctor', pinHostKey: false });
  const ids = checks.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const paragraphs = checks.map(({ id, title, why, fix, blocking, dependsOn }) =>
    [
      `### \`${id}\`: ${title}`,
      `${why ? `${why} ` : ''}${blocking ? 'Blocking.' : 'Not blocking.'}${
        dependsOn.length > 0 ? ` Skipped while ${dependsOn.map((other) => `\`${other}\``).join(' or ')} fails.` : ''
      }`,
      `**What to do.** ${fix}`,
    ]
      .map(wrapped)
      .join('\n\n'),
  );
  const page = `# What \`expo-worker doctor\` looks at

Each check has a code and a paragraph here. In the report the code stands in brackets at the end of each line
that begins with \`Fix:\`. \`--json\` has the code of every check in \`id\`. A code never changes its meaning. The
checks run in this order; those of macOS are skipped on other systems. From \`vm_start\` on they look into a
clone of the base image, which doctor deletes afterwards; with \`--no-vm\` it leaves these checks out.

- **Blocking.** If such a check fails, the Mac is not fit for builds. Doctor ends with exit code 1, and a
  quarantine of the worker goes on.
- **Not blocking.** Doctor warns. It still ends with exit code 0, and a quarantine of the worker still ends.
  The paragraph says what the finding means for builds.

A quarantined agent runs the same checks by itself: at once, after 5 minutes, and then less and less often,
but at least each hour.

A Mac with several images has the checks from \`base_image\` on for each of them, as \`CHECK@IMAGE\`. Where a
paragraph says \`expo-worker base-image\`, add \`--image IMAGE\` there; the report says it with the names of
the image and its VM. \`--image NAME\` looks at one alone. With it or with \`--no-vm\` the examination is not
the whole one, so the controller is not told, and no quarantine ends.

${paragraphs.join('\n\n')}
`;
  await expect(page).toMatchFileSnapshot('../../../docs/doctor.md');
});

function leases(count: number, addressOf: (i: number) => string, untilS = 4_000_000_000): string {
  return Array.from(
    { length: count },
    (_, i) =>
      `{\n\tname=vm\n\tip_address=${addressOf(i)}\n\thw_address=1,7e:0:0:0:0:${i.toString(16)}\n\tlease=0x${untilS.toString(16)}\n}\n`,
  ).join('');
}

function uninstalled({ command, file }: Stand): void {
  command('launchctl', 'exit 113');
  file('Library/LaunchDaemons/tartbeat.expo-worker.plist', '');
}
