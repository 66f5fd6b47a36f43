import { execa } from 'execa';
import { expect, test } from 'vitest';
import { TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

/**
 * Tests Tart's command line where it needs no VM: from words to exit code, stdout and stderr. Where there is
 * a real Tart, the same table runs against it.
 */
const missing = 'the specified VM "ghost" does not exist';
const CASES: { words: string[]; exitCode: number; stdout?: RegExp; stderr?: RegExp }[] = [
  { words: [], exitCode: 0, stdout: /SUBCOMMANDS/ },
  { words: ['--version'], exitCode: 0, stdout: /^\d+\.\d+\.\d+$/ },
  { words: ['--help'], exitCode: 0, stdout: /^OVERVIEW: / },
  { words: ['clone', '--help'], exitCode: 0, stdout: /USAGE: tart clone <source-name> <new-name>/ },
  { words: ['help', 'clone'], exitCode: 0, stdout: /USAGE: tart clone/ },
  { words: ['list'], exitCode: 0, stdout: /^$/ },
  { words: ['list', '-q'], exitCode: 0, stdout: /^$/ },
  { words: ['list', '--format', 'json'], exitCode: 0, stdout: /^\[\n\n\]$/ },
  { words: ['list', '--format=json', '--source', 'oci'], exitCode: 0, stdout: /^\[\n\n\]$/ },
  { words: ['list', '--source', 'x'], exitCode: 64, stderr: /^Error: 'x' is not a valid <source>\nUsage: tart list / },
  { words: ['list', '--format', 'yaml'], exitCode: 64, stderr: /The value 'yaml' is invalid for '--format <format>'/ },
  { words: ['list', '--formt', 'json'], exitCode: 64, stderr: /Unknown option '--formt'. Did you mean '--format'\?/ },
  { words: ['list', '--nonsense'], exitCode: 64, stderr: /^Error: Unknown option '--nonsense'\n/ },
  { words: ['list', '--format'], exitCode: 64, stderr: /Missing value for '--format <format>'/ },
  { words: ['list', 'a'], exitCode: 64, stderr: /Unexpected argument 'a'/ },
  { words: ['list', 'a', 'b'], exitCode: 64, stderr: /2 unexpected arguments: 'a', 'b'/ },
  {
    words: ['nonsense'],
    exitCode: 64,
    stderr: /Unexpected argument 'nonsense'\nUsage: tart <subcommand>\n {2}See 'tart --help'/,
  },
  { words: ['get'], exitCode: 64, stderr: /Missing expected argument '<name>'/ },
  { words: ['get', 'ghost'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['ip', 'ghost'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['ip', 'ghost', '--wait', 'x'], exitCode: 64, stderr: /The value 'x' is invalid for '--wait <wait>'/ },
  { words: ['ip', 'ghost', '--wait', '65536'], exitCode: 64, stderr: /The value '65536' is invalid/ },
  { words: ['stop', 'ghost'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['delete', 'ghost'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['delete'], exitCode: 64, stderr: /Missing expected argument '<name> ...'/ },
  { words: ['set', 'ghost', '--random-mac'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['suspend', 'ghost'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['exec', 'ghost', 'ls', '-l'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['run', 'ghost'], exitCode: 1, stderr: new RegExp(`^Error: ${missing}$`) },
  { words: ['run', 'ghost', '--vnc', '--vnc-experimental'], exitCode: 64, stderr: /are mutually exclusive/ },
  { words: ['run', 'ghost', '--net-host', '--net-softnet-allow', '10.0.0.0/8'], exitCode: 64, stderr: /exclusive/ },
  { words: ['clone', 'ghost', 'new'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['clone', 'ghost'], exitCode: 64, stderr: /Missing expected argument '<new-name>'/ },
  { words: ['clone', 'ghost', 'a/b'], exitCode: 64, stderr: /^Error: <new-name> should be a local name/ },
  { words: ['clone', 'a', 'b', '--concurrency', '0'], exitCode: 64, stderr: /concurrency cannot be less than 1/ },
  {
    words: ['rename', 'ghost', 'b'],
    exitCode: 64,
    stderr: /failed to rename a non-existent local VM: ghost\nUsage: tart <s/,
  },
  { words: ['create', 'new'], exitCode: 64, stderr: /Please specify either a --from-ipsw or --linux option!/ },
  {
    words: ['prune'],
    exitCode: 64,
    stderr: /^Error: at least one pruning criteria must be specified\nUsage: tart prune /,
  },
  {
    words: ['prune', '--older-than', '1', '--entries', 'x'],
    exitCode: 64,
    stderr: /unsupported --entries value, please specify either "caches" or "vms"\nUsage: tart <subcommand>/,
  },
  { words: ['prune', '--space-budget', '1'], exitCode: 0 },
  { words: ['fqn', 'local'], exitCode: 0, stdout: /^local$/ },
  {
    words: ['fqn', 'host/a:1'],
    exitCode: 1,
    stderr: /^OCI storage error: host\/a:1 is not a digest and doesn't point/,
  },
  { words: ['push', 'ghost', 'host/a:1'], exitCode: 2, stderr: new RegExp(`^${missing}$`) },
  { words: ['push', 'ghost'], exitCode: 64, stderr: /Missing expected argument '<remote-names> ...'/ },
  { words: ['pull', 'local'], exitCode: 0, stdout: /^"local" is a local image, nothing to pull here!$/ },
];

const real = process.env.TARTBEAT_REAL_TART;
for (const [tart, path] of [
  ['the simulator', TART_SIMULATOR_PATH],
  ...(real ? [['Tart', real] as const] : []),
] as const)
  test.concurrent.for(CASES)(`${tart}: tart $words`, async ({ words, exitCode, stdout, stderr }) => {
    using home = temporaryDir();
    const ended = await execa(path, words, { env: { TART_HOME: home.path }, reject: false, stdin: 'ignore' });
    expect(ended.exitCode, ended.stderr).toBe(exitCode);
    expect(ended.stdout).toMatch(stdout ?? /^$/);
    expect(ended.stderr).toMatch(stderr ?? /^$/);
  });

test('what the simulator does not do, it says', async () => {
  for (const command of ['login', 'logout', 'import', 'export']) {
    const { exitCode, stderr } = await execa(TART_SIMULATOR_PATH, [command, 'x'], { reject: false });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: `the Tart simulator does not do "tart ${command}"` });
  }
});
