/** Tests that the gate allows exactly what the agent sends, byte by byte, and nothing else. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseScriptsSeen } from '../../worker-agent/guest/answers.ts';
import { ARGUMENT_KINDS, type ArgumentKind, shellQuote } from '../../worker-agent/guest/arguments.ts';
import * as guest from '../../worker-agent/guest/commands.ts';
import { isMissingIn, numberOf, ownScripts } from '../../worker-agent/guest/scripts.ts';
import { installGuestScripts } from '../../worker-agent/tart-simulator/home/base-image.ts';
import { testWith } from '../set-up/test-with.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { SHELLS, type Shell } from './factories/guest-script.ts';

const GATE = join(import.meta.dirname, '../../vm-image/vm-ssh-gate');
const REFUSED = 126;
const { version, table } = ownScripts();
const key = { buildId: 'b-1.x_Y', attempt: 12 };

/** One of each command, with arguments that are hard to quote where any text may stand. */
const COMMANDS: readonly guest.GuestCommand[] = [
  guest.diskFree(),
  guest.readClock(),
  guest.setClock(0),
  guest.hasMonitor(),
  guest.hasCurl(),
  guest.controllerHealth('https://[::1]:8787/base/'),
  guest.verifyImage(),
  guest.startMonitor({ ...key, controllerUrl: 'http://c', workerId: 'w-1', token: 't', intervalSeconds: 0.25 }),
  guest.monitorAlive(key),
  guest.stopMonitor(key),
  guest.monitorLog(key),
  guest.prepareBuild(key),
  guest.unpackSource({ ...key, archiveBytes: 20 * 1024 ** 3 }),
  guest.startBuild({ ...key, command: 'make', env: {} }),
  guest.writeSecretFile({ ...key, path: 'AuthKey_1.p8', content: Buffer.from('x') }),
  guest.removeSecrets(key),
  guest.buildStatus(key),
  guest.buildUsage(key),
  guest.readLog(0, 1),
  guest.followBuild({ ...key, offset: 0, looks: 4 }),
  guest.killBuild(key),
  guest.askedApp(key),
  guest.giveNumber({ ...key, number: 7 }),
  guest.listFiles({ ...key, roots: ['dist', "it's\na\\n$(name)", './ü -x', '.'] }),
  guest.packFiles({ ...key, paths: ['a'] }),
  guest.packFolder({ ...key, path: "out/'quoted'/App.app" }),
  guest.readFile({ ...key, path: '-rf *;`id` "$HOME"\'' }),
  guest.evidence(),
  guest.buildProcesses(key),
  guest.shutdown(),
  guest.cleanForKeeping({ ...key, texts: Buffer.from('hunter22\n'), minutes: 30 }),
];
const textOf = (command: guest.GuestCommand) => command.text(version);
const commandOf = (name: string) => COMMANDS.find((command) => command.name === name)!;

test('the agent has a command for each row of the table, and none besides', () => {
  expect(COMMANDS.map(({ name }) => name).sort()).toEqual([...table.keys()].sort());
});

/** An image's disk, with guest scripts of this agent. */
function imageDisk() {
  const dir = temporaryDir();
  installGuestScripts(dir.path, join(dir.path, 'Users/admin'));
  return { ...dir, scripts: join(dir.path, 'usr/local/share/tartbeat/guest') };
}

interface Answer {
  status: number;
  words: string[];
  stdout: string;
  stderr: string;
}

/**
 * A gate whose last line prints the command instead of running it. For many commands, one shell asks for all
 * of them, each in a subshell, because a process for each takes much longer. The last test here runs the gate
 * itself.
 */
function gateThatTells(shell: Shell) {
  const disk = imageDisk();
  const path = join(disk.path, 'gate');
  const gate = readFileSync(GATE, 'utf8');
  const told = gate.replace(/^exec "\$scripts/m, `printf '%s\\0' "$scripts`).replace(/\) exec /g, ') echo by hand: ');
  expect(told).not.toBe(gate);
  writeFileSync(path, told);
  const file = (name: string | number) => join(disk.path, `asked.${name}`);
  const text = (name: string) => readFileSync(file(name), 'utf8');
  const askAll = (commands: readonly (string | undefined)[]): Answer[] => {
    const lines = commands.map((command, index) => {
      const given =
        command === undefined ? 'unset SSH_ORIGINAL_COMMAND' : `export SSH_ORIGINAL_COMMAND=${shellQuote(command)}`;
      return `${given}\n(. '${path}') >'${file(index)}.out' 2>'${file(index)}.err'; echo $?\n`;
    });
    writeFileSync(file('all'), lines.join(''));
    const env = { PATH: '/usr/bin:/bin', TARTBEAT_ROOT: disk.path };
    const { stdout, stderr } = spawnSync(shell, [file('all')], { env, encoding: 'utf8', timeout: 120_000 });
    const codes = stdout.split('\n').slice(0, -1).map(Number);
    expect([codes.length, stderr]).toEqual([commands.length, '']);
    return codes.map((status, index) => {
      const printed = text(`${index}.out`);
      return { status, words: printed.split('\0').slice(0, -1), stdout: printed, stderr: text(`${index}.err`) };
    });
  };
  return {
    scripts: disk.scripts,
    askAll,
    ask: (command: string) => askAll([command])[0]!,
    [Symbol.dispose]: () => disk[Symbol.dispose](),
  };
}

/** The command with which the agent calls a file of the guest scripts with these arguments. */
const asked = (file: string, words: readonly string[]) =>
  [`exec ~/.tartbeat/guest/${version}/${file}.sh`, ...words.map(shellQuote)].join(' ');

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const holds = (sentence: string, check: () => void) => declare(`${shell}: ${sentence}`, { timeout: 240_000 }, check);

  holds('every command of the agent passes as it is, and runs the file of the image', () => {
    using gate = gateThatTells(shell);
    for (const [index, { status, words, stderr }] of gate.askAll(COMMANDS.map(textOf)).entries()) {
      const command = COMMANDS[index]!;
      expect({ name: command.name, status, stderr }).toEqual({ name: command.name, status: 0, stderr: '' });
      const [file, subcommand, ...args] = words;
      expect(file).toBe(join(gate.scripts, `${command.name.split(' ')[0]}.sh`));
      expect(asked(command.name.split(' ')[0]!, [subcommand!, ...args])).toBe(textOf(command));
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
      place: [
        'a',
        '.env.production',
        'apps/mobile/ü -x.plist',
        '-a/..b/.../c',
        '..',
        'a/../b',
        'a/.',
        './a',
        '/a',
        'a/',
        'a//b',
        'a\\b',
        'a\x7f',
        'a\tb',
        'x'.repeat(256),
      ],
    };
    const random = fc.sample(fc.string({ unit: fc.constantFrom(...'a0.-/\'"\\ $`;é_:\n[]'), maxLength: 6 }), {
      numRuns: 25,
      seed: 1,
    });
    const asIs = gate.askAll([...table.keys()].map((name) => textOf(commandOf(name))));
    const wordsOf = new Map([...table.keys()].map((name, index) => [name, asIs[index]!.words]));
    const cases: { name: string; text: string; command: string; passes: boolean }[] = [];
    for (const [name, kinds] of table)
      for (const [index, kind] of kinds.entries()) {
        const [file, subcommand] = name.split(' ') as [string, string];
        const given = wordsOf.get(name)!.slice(2);
        const plain = kind.replace('...', '') as ArgumentKind;
        // The gate checks the kinds in one place for all scripts, so one script is enough for these kinds.
        if (['state', 'id', 'count'].includes(plain) && name !== 'log read' && name !== 'build status') continue;
        for (const text of [...texts[plain], ...random]) {
          const args = given.with(index, text);
          if (plain === 'state') args.splice(1, 2, text.replace(/-[^-]*$/, ''), text.split('-').at(-1)!);
          const fits = args.every((value, at) =>
            ARGUMENT_KINDS[(kinds[at] ?? kinds.at(-1)!).replace('...', '') as ArgumentKind].test(value),
          );
          const isOfAttempt = kinds[0] !== 'state' || args[0] === `${args[1]}-${args[2]}`;
          cases.push({ name, text, command: asked(file, [subcommand, ...args]), passes: fits && isOfAttempt });
        }
      }
    for (const [index, { status, stderr }] of gate.askAll(cases.map(({ command }) => command)).entries()) {
      const { name, text, passes } = cases[index]!;
      expect({ name, text, status, stderr: stderr.slice(0, 21) }).toEqual(
        passes
          ? { name, text, status: 0, stderr: '' }
          : { name, text, status: REFUSED, stderr: 'vm-ssh-gate: refused:' },
      );
      if (text.length > 3) expect(stderr).not.toContain(text);
    }
  });

  holds('whatever else is asked for is refused with a reason, and nothing of it runs', () => {
    using gate = gateThatTells(shell);
    const text = textOf(commandOf('artifacts read-file'));
    const disk = textOf(commandOf('checks disk'));
    const hostile = [
      undefined,
      '',
      ' ',
      'sh',
      'echo alive; id',
      'echo alive\nid',
      ' echo alive',
      'ifconfig en0 down',
      'df -h / ; id',
      'tartbeat-verify --user root',
      'internal-sftp',
      '/usr/libexec/sftp-server',
      'scp -t /tmp',
      'rsync --server . /',
      '$(id)',
      '`id`',
      // A command of agents from before there were guest scripts.
      "exec /bin/bash -c 'df -k /' 'diskFree'",
      // Commands that only a free key may run.
      guest.installScripts({ version, archive: Buffer.from('') }).text(null),
      `${guest.whichScripts().text(null)}; id`,
      guest.whichScripts().text(null).replace('echo', 'id; echo'),
      // Names that are not in the table.
      disk.replace("'disk'", "'dusk'"),
      disk.replace("'disk'", "''"),
      disk.replace("'disk'", "'#'"),
      disk.replace("'disk'", "'$(id)'"),
      disk.replace("'disk'", "'*'"),
      disk.replace("'disk'", "'disk\n'"),
      disk.replace("'disk'", "'look'"),
      disk.replace('checks.sh', '#.sh'),
      disk.replace('checks.sh', '*.sh'),
      disk.replace('checks.sh', 'install.sh'),
      disk.replace('checks.sh', 'lib.sh'),
      disk.replace('checks.sh', '.sh'),
      disk.replace('checks.sh', 'checks'),
      disk.replace('checks.sh', 'checks.sh.sh'),
      disk.replace('checks.sh', "'checks.sh'"),
      disk.replace('checks.sh', 'checks.sh\n'),
      // Ways out of the folder.
      disk.replace('checks.sh', '../checks.sh'),
      disk.replace('checks.sh', 'x/../checks.sh'),
      disk.replace('checks.sh', '/checks.sh'),
      disk.replace('checks.sh', 'checks.sh/../../../../bin/sh'),
      disk.replace('~', '/tmp'),
      disk.replace('~/', '~root/'),
      disk.replace('/guest/', '/guest/../guest/'),
      // Versions that the image does not have, and words that are not a version.
      disk.replace(version, '1-0000000000000000'),
      disk.replace(version, '..'),
      disk.replace(version, ''),
      disk.replace(version, `${version}/`),
      disk.replace(version, `${version}/../${version}`),
      disk.replace(version, `./${version}`),
      disk.replace(version, '*'),
      disk.replace(version, `${version} `),
      disk.replace(version, version.toUpperCase()),
      // Arguments that are not between single quotes.
      disk.slice(0, -1),
      `${disk};id`,
      `${disk} ;id`,
      `${disk} 'one too many'`,
      `${disk} ''`,
      `${disk}\nid`,
      `${disk} `,
      `${disk} id`,
      `${disk} "$(id)"`,
      `${disk}'`,
      `${disk}''`,
      disk.replace(" '", "  '"),
      disk.replace(" '", "\t'"),
      disk.replace('exec ', 'exec  '),
      disk.replace('exec ', ''),
      disk.replace('exec ', 'exec /bin/bash '),
      text.slice(0, text.lastIndexOf(" '")),
      text.replace("'b-1.x_Y-12'", "'other-12'"),
      text.replace("'./", "'/"),
      text.replace("'./", "'./../"),
      asked('log', ["read'\\''", '1', '1']),
      asked('log', ['read', "1'\n'", '1']),
      asked('log', ['read', '1\n', '1']),
      asked('log', ['read', '1', '1', '1']),
      asked('log', ['read', '1'.repeat(5000), '1']),
      asked(
        'artifacts',
        Array.from({ length: 5000 }, () => 'a'),
      ),
      asked('log', []),
      asked('log', ['!', '=', '(']),
      'x'.repeat(100_000),
    ];
    for (const [index, { status, stdout, stderr }] of gate.askAll(hostile).entries()) {
      const command = hostile[index];
      expect({ command, status, stdout }).toEqual({ command, status: REFUSED, stdout: '' });
      expect(stderr).toMatch(/^vm-ssh-gate: refused: [^\n]{10,300}\n$/);
    }
    const other = gate.ask(disk.replace(version, '1-0000000000000000'));
    expect(other.stderr).toMatch(/another version of the guest scripts/);
  });

  holds('what the gate looks up is in the table of the image, not in one of its own', () => {
    using gate = gateThatTells(shell);
    const readLog = asked('log', ['read', '1', '1']);
    const write = (text: string) => writeFileSync(join(gate.scripts, 'table'), text);
    write('log  read  count count\nbuild start\n');
    expect(gate.ask(readLog).status).toBe(0);
    expect(gate.ask(asked('build', ['start'])).status).toBe(0);
    expect(gate.ask(textOf(commandOf('checks disk'))).status).toBe(REFUSED);
    write('log read count\n# build start\n');
    expect(gate.ask(readLog).status).toBe(REFUSED);
    expect(gate.ask(asked('build', ['start'])).status).toBe(REFUSED);
    write('log read count surprise\n');
    expect(gate.ask(readLog).status).toBe(REFUSED);
    for (const name of ['table', 'version']) {
      rmSync(join(gate.scripts, name));
      const { status, stderr } = gate.ask(readLog);
      expect([status, stderr]).toEqual([
        REFUSED,
        expect.stringMatching(/^vm-ssh-gate: refused: this image has no .*\n$/),
      ]);
    }
  });

  holds('the gate of an image of this number, and of the one before, lets through what the agent says to it', () => {
    using gate = gateThatTells(shell);
    for (const number of [numberOf(version), numberOf(version) - 1].filter((one) => one > 0)) {
      const image = `${number}-0000000000000000`;
      const recorded = readFileSync(join(import.meta.dirname, 'guest-tables', String(number)), 'utf8');
      writeFileSync(join(gate.scripts, 'version'), `${image}\n`);
      writeFileSync(join(gate.scripts, 'table'), recorded);
      const known = COMMANDS.filter(({ name }) => !isMissingIn(image, name));
      for (const [index, answer] of gate.askAll(known.map((command) => command.text(image))).entries())
        expect(answer, `${known[index]!.name} for ${image}`).toMatchObject({ status: 0, stderr: '' });
    }
  });

  holds('a command that was changed anywhere is refused, or is another one that the agent could have sent', () => {
    using gate = gateThatTells(shell);
    const edits = fc.tuple(
      fc.constantFrom(...COMMANDS.map(textOf)),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.constantFrom('', "'", "'\\''", '\\', ' ', "' '", ';', '\n', '$(id)', '..', '/', '0', 'é'),
      fc.integer({ min: 0, max: 2 }),
    );
    const commands = fc.sample(edits, { numRuns: 400, seed: 7 }).map(([text, where, put, drop]) => {
      const at = Math.floor(where * text.length);
      return text.slice(0, at) + put + text.slice(at + drop);
    });
    for (const [index, { status, words, stdout }] of gate.askAll(commands).entries()) {
      const changed = commands[index]!;
      if (status === REFUSED) {
        expect(stdout, changed).toBe('');
        continue;
      }
      expect(status, changed).toBe(0);
      const [path, ...rest] = words;
      const file = path!.slice(gate.scripts.length + 1, -'.sh'.length);
      expect(asked(file, rest)).toBe(changed);
      expect(table.has(`${file} ${rest[0]}`)).toBe(true);
    }
  });

  holds('it runs what it lets through: script, arguments, standard input, exit code, locale', () => {
    using disk = imageDisk();
    const run = (command: string, env: NodeJS.ProcessEnv = {}, input = '') =>
      spawnSync(shell, [GATE], {
        env: {
          PATH: '/usr/bin:/bin',
          HOME: disk.path,
          TARTBEAT_ROOT: disk.path,
          SSH_ORIGINAL_COMMAND: command,
          ...env,
        },
        input,
        encoding: 'utf8',
      });
    expect(run(guest.echoAlive().text(null)).stdout).toBe('alive\n');
    expect(run('df -h /').stdout).toContain('Filesystem');
    const seen = run(guest.whichScripts().text(null));
    expect(parseScriptsSeen({ exitCode: seen.status, stdout: Buffer.from(seen.stdout) })).toEqual({
      tied: true,
      versions: [version],
    });
    expect(run(textOf(guest.readFile({ ...key, path: 'absent' }))).status).toBe(1);
    const build = guest.startBuild({
      ...key,
      command: 'echo "$LC_ALL|$(env | grep -c -e ^LC_ALL= -e ^SSH_)"',
      env: {},
    });
    for (const [env, expected] of [
      [{ LC_ALL: 'C.UTF-8' }, 'C.UTF-8|1\n'],
      [{}, '|0\n'],
    ] as const) {
      execFileSync('rm', ['-rf', join(disk.path, '.tartbeat')]);
      expect(run(textOf(guest.prepareBuild(key))).status).toBe(0);
      expect(run(textOf(build), env, String(build.input)).status).toBe(0);
      let status = '';
      while (!status.includes('exit=0')) status = run(textOf(guest.buildStatus(key))).stdout;
      expect(run(textOf(guest.readLog(0, 100))).stdout).toBe(expected);
    }
  });
}
