/** Tests that the gate allows exactly what the agent sends, byte by byte, and nothing else. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as guest from '../../worker-agent/guest/commands.ts';
import { GATE_TABLE, GATE_VERSION } from '../../worker-agent/guest/gate.ts';
import {
  ARGUMENT_KINDS,
  type ArgumentKind,
  GUEST_SCRIPTS,
  type GuestScript,
} from '../../worker-agent/guest/scripts.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { hasShell, SHELLS, type Shell } from './guest-script.ts';

const GATE = join(import.meta.dirname, '../../vm-image/vm-ssh-gate');
const REFUSED = 126;
const key = { buildId: 'b-1.x_Y', attempt: 12 };

/** One of each command, with arguments that are hard to quote where any text may stand. */
const COMMANDS: Record<keyof typeof GUEST_SCRIPTS, guest.GuestCommand> = {
  echoAlive: guest.echoAlive(),
  diskFree: guest.diskFree(),
  macAddresses: guest.macAddresses(),
  readClock: guest.readClock(),
  setClock: guest.setClock(0),
  hasMonitor: guest.hasMonitor(),
  hasCurl: guest.hasCurl(),
  controllerHealth: guest.controllerHealth('https://[::1]:8787/base/'),
  verifyImage: guest.verifyImage(),
  gate: guest.gate(),
  startMonitor: guest.startMonitor({
    ...key,
    controllerUrl: 'http://c',
    workerId: 'w-1',
    token: 't',
    intervalSeconds: 0.25,
  }),
  monitorAlive: guest.monitorAlive(key),
  stopMonitor: guest.stopMonitor(key),
  monitorLog: guest.monitorLog(key),
  prepareBuild: guest.prepareBuild(key),
  unpackSource: guest.unpackSource({ ...key, archiveBytes: 20 * 1024 ** 3 }),
  startBuild: guest.startBuild({ ...key, command: 'make', env: {} }),
  writeSecretFile: guest.writeSecretFile({ ...key, name: 'AuthKey_1.p8', content: Buffer.from('x') }),
  removeSecrets: guest.removeSecrets(key),
  buildStatus: guest.buildStatus(key),
  readLog: guest.readLog(0, 1),
  killBuild: guest.killBuild(key),
  listFiles: guest.listFiles({ ...key, roots: ['dist', "it's\na\\n$(name)", './ü -x', '.'] }),
  packFiles: guest.packFiles({ ...key, paths: ['a'] }),
  packFolder: guest.packFolder({ ...key, path: "out/'quoted'/App.app" }),
  readFile: guest.readFile({ ...key, path: '-rf *;`id` "$HOME"\'' }),
  evidence: guest.evidence(),
  shutdown: guest.shutdown(),
};

test('the table in vm-ssh-gate is made of the table in guest-scripts.ts (`-u` writes it)', async () => {
  const [head, , tail] = readFileSync(GATE, 'utf8').split(/(?<=\n# <table>\n)([\s\S]*)(?=# <\/table>\n)/);
  await expect(`${head}${GATE_TABLE}\n${tail}`).toMatchFileSnapshot(GATE);
});

/** The gate, but for its last line: it prints what it would run. */
function gateThatTells(shell: Shell) {
  const dir = temporaryDir();
  const path = join(dir.path, 'gate');
  const text = readFileSync(GATE, 'utf8');
  const told = text.replace(/^exec \/bin\/bash -c/m, "printf '%s\\0'").replace(/; exec |\) exec /g, ') echo by hand: ');
  expect(told).not.toBe(text);
  writeFileSync(path, told);
  return {
    ask(command: string | undefined, env: NodeJS.ProcessEnv = {}) {
      const { status, stdout, stderr } = spawnSync(shell, [path], {
        env: { PATH: '/usr/bin:/bin', ...(command !== undefined && { SSH_ORIGINAL_COMMAND: command }), ...env },
        encoding: 'utf8',
        timeout: 30_000,
      });
      return { status, words: stdout.split('\0').slice(0, -1), stdout, stderr };
    },
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}

const quoted = (words: readonly string[]) => ['exec /bin/bash -c', ...words.map(guest.shellQuote)].join(' ');

for (const shell of SHELLS) {
  const holds = (sentence: string, check: () => void) =>
    test.skipIf(!hasShell(shell))(`${shell}: ${sentence}`, { timeout: 240_000 }, check);

  holds('every command of the agent passes as it is', () => {
    using gate = gateThatTells(shell);
    for (const [name, { text }] of Object.entries(COMMANDS)) {
      const { status, words, stderr } = gate.ask(text);
      expect({ name, status, stderr }).toEqual({ name, status: 0, stderr: '' });
      expect(quoted(words)).toBe(text);
    }
  });

  holds('an argument passes exactly if the agent could have sent it', () => {
    using gate = gateThatTells(shell);
    const texts: Record<ArgumentKind, string[]> = {
      id: ['a', 'a.b-c_D9', '-a', '.', '..', 'a/b', 'a b', 'x'.repeat(64), 'x'.repeat(65), 'é'],
      state: ['a-1', 'a-0', 'a-01', 'a', '-1', 'a-1-2', 'a-12345678', `${'x'.repeat(64)}-1234567`, 'a-1\n', '../a-1'],
      count: ['0', '1', '01', '-1', '1.0', '1e9', '9999999999999999', '10000000000000000', '$(id)', '1\n'],
      seconds: ['30', '0.1', '.5', '5.', '1.2.3', '1.2345', '99999', '100000', '1e3'],
      clock: ['010100001970.00', '010100001970', '0101000019700.0', '010100001970.0x', '0101000019.7000'],
      url: [
        'http://a',
        'https://[::1]:1/x',
        'http://',
        'ftp://a',
        'http://a b',
        'http://a;id',
        'http://a?b',
        `http://${'x'.repeat(2048)}`,
        `http://${'x'.repeat(2049)}`,
      ],
      path: ['.', './a', './a/./b', './a/..b', './a/../b', './..', './a/..', '/a', 'a', '..', '../a', '', './ü\n*'],
      step: ['a', '.', '..', '', 'a/b', '...', '-a b\n'],
      secret: ['a', '_a.p8', '.a', '-a', 'a/b', 'x'.repeat(128), 'x'.repeat(129)],
    };
    const random = fc.sample(fc.string({ unit: fc.constantFrom(...'a0.-/\'"\\ $`;é_:\n[]'), maxLength: 6 }), {
      numRuns: 25,
      seed: 1,
    });
    for (const [name, { arguments: kinds, script }] of Object.entries<GuestScript>(GUEST_SCRIPTS))
      for (const [index, kind] of kinds.entries()) {
        const given = gate.ask(COMMANDS[name as keyof typeof COMMANDS].text).words.slice(2);
        const plain = kind.replace('...', '') as ArgumentKind;
        // The kinds are checked in one place, whichever script asks: those of an attempt's key once are enough.
        if (['state', 'id', 'count'].includes(plain) && name !== 'readLog' && name !== 'buildStatus') continue;
        for (const text of [...texts[plain], ...random]) {
          const args = given.with(index, text);
          if (plain === 'state') args.splice(1, 2, text.replace(/-[^-]*$/, ''), text.split('-').at(-1)!);
          const fits = args.every((value, at) =>
            ARGUMENT_KINDS[(kinds[at] ?? kinds.at(-1)!).replace('...', '') as ArgumentKind].test(value),
          );
          const isOfAttempt = kinds[0] !== 'state' || args[0] === `${args[1]}-${args[2]}`;
          const { status, stderr } = gate.ask(quoted([script, name, ...args]));
          expect({ name, text, status, stderr: stderr.slice(0, 21) }).toEqual(
            fits && isOfAttempt
              ? { name, text, status: 0, stderr: '' }
              : { name, text, status: REFUSED, stderr: 'vm-ssh-gate: refused:' },
          );
          if (text.length > 3) expect(stderr).not.toContain(text);
        }
      }
  });

  holds('whatever else is asked for is refused with a reason, and nothing of it runs', () => {
    using gate = gateThatTells(shell);
    const { text } = COMMANDS.readFile;
    const alive = COMMANDS.echoAlive.text;
    const hostile = [
      undefined,
      '',
      ' ',
      'sh',
      'echo alive; id',
      'echo alive\nid',
      ' echo alive',
      'df -h / ; id',
      'tartbeat-verify --user root',
      'internal-sftp',
      '/usr/libexec/sftp-server',
      'scp -t /tmp',
      'rsync --server . /',
      '$(id)',
      '`id`',
      alive.replace('echo alive', 'id'),
      alive.replace("'echoAlive'", "'$(id)'"),
      alive.replace("'echoAlive'", "'*'"),
      alive.replace("'echoAlive'", "'shutdown'"),
      alive.slice(0, -1),
      `${alive};id`,
      `${alive} ;id`,
      `${alive} 'one too many'`,
      `${alive}\nid`,
      `${alive} `,
      `${alive} id`,
      `${alive} "$(id)"`,
      alive.replace("' '", "'  '"),
      alive.replace('exec ', 'exec  '),
      alive.replace('bash -c', 'bash -lc'),
      text.slice(0, text.lastIndexOf(" '")),
      text.replace("'b-1.x_Y-12'", "'other-12'"),
      `exec /bin/bash -c ${"'a' ".repeat(5000)}`,
      "exec /bin/bash -c '",
      "exec /bin/bash -c 'a",
      "exec /bin/bash -c 'id' '!' '=' '('",
      'x'.repeat(100_000),
    ];
    for (const command of hostile) {
      const { status, stdout, stderr } = gate.ask(command);
      expect({ command, status, stdout }).toEqual({ command, status: REFUSED, stdout: '' });
      expect(stderr).toMatch(/^vm-ssh-gate: refused: [^\n]{10,300}\n$/);
    }
    const stale = gate.ask(alive.replace('echo alive', 'echo  alive'));
    expect(stale.stderr).toMatch(/echoAlive is another version .* make the base image anew/);
  });

  holds('a command that was changed anywhere is refused, or is another one that the agent could have sent', () => {
    using gate = gateThatTells(shell);
    const edits = fc.tuple(
      fc.constantFrom(...Object.values(COMMANDS).map(({ text }) => text)),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.constantFrom('', "'", "'\\''", '\\', ' ', "' '", ';', '\n', '$(id)', '..', '/', '0', 'é'),
      fc.integer({ min: 0, max: 2 }),
    );
    fc.assert(
      fc.property(edits, ([text, where, put, drop]) => {
        const at = Math.floor(where * text.length);
        const changed = text.slice(0, at) + put + text.slice(at + drop);
        const { status, words, stdout } = gate.ask(changed);
        if (status === REFUSED) {
          expect(stdout).toBe('');
          return;
        }
        expect(status).toBe(0);
        expect(quoted(words)).toBe(changed);
        expect(words[0]).toBe((GUEST_SCRIPTS as Record<string, GuestScript>)[words[1]!]?.script);
      }),
      { numRuns: 400, seed: 7 },
    );
  });

  holds('it runs what it lets through: script, arguments, standard input, exit code, locale', () => {
    using dir = temporaryDir();
    const run = (command: string, env: NodeJS.ProcessEnv = {}, input = '') =>
      spawnSync(shell, [GATE], {
        env: { PATH: '/usr/bin:/bin', HOME: dir.path, TARTBEAT_ROOT: dir.path, SSH_ORIGINAL_COMMAND: command, ...env },
        input,
        encoding: 'utf8',
      });
    expect(run('echo alive').stdout).toBe('alive\n');
    expect(run('df -h /').stdout).toContain('Filesystem');
    expect(run(guest.gate().text).stdout).toBe(`${GATE_VERSION}\n`);
    expect(run(guest.readFile({ ...key, path: 'absent' }).text).status).toBe(1);
    const build = guest.startBuild({
      ...key,
      command: 'echo "$LC_ALL|$(env | grep -c -e ^LC_ALL= -e ^SSH_)"',
      env: {},
    });
    for (const [env, expected] of [
      [{ LC_ALL: 'C.UTF-8' }, 'C.UTF-8|1\n'],
      [{}, '|0\n'],
    ] as const) {
      execFileSync('rm', ['-rf', join(dir.path, '.tartbeat')]);
      expect(run(guest.prepareBuild(key).text).status).toBe(0);
      expect(run(build.text, env, String(build.input)).status).toBe(0);
      let status = '';
      while (!status.includes('exit=0')) status = run(guest.buildStatus(key).text).stdout;
      expect(run(guest.readLog(0, 100).text).stdout).toBe(expected);
    }
  });
}
