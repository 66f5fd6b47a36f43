/**
 * Tests the files of vm-image/guest/: their version, their table, their installation, and their behaviour in
 * each shell.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseMemoryKills } from '../../worker-agent/guest/answers.ts';
import { type Frame, framesOf } from '../../worker-agent/guest/log-frames.ts';
import { ownScripts } from '../../worker-agent/guest/scripts.ts';
import { testWith } from '../set-up/test-with.ts';
import { digestOfScripts } from '../worker-agent/factories/other-release.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { SHELLS, type Shell } from './factories/guest-script.ts';

const { version, folder, table } = ownScripts();
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const FILES = readdirSync(folder).sort();
const DAMAGED = 3;

test('version has the hash of the files (`npx vitest run --project programs test/vm-image/guest.test.ts -u` writes it)', async () => {
  await expect(`${version.split('-')[0]}-${digestOfScripts(folder)}\n`).toMatchFileSnapshot(join(folder, 'version'));
});

/**
 * An image with a tied key keeps the scripts that it was made with, and the agent recognises them by their
 * number. So if you change the table, raise the number in vm-image/guest/version and write the rows to
 * guest-tables/NUMBER. If an older command has another form, add it to BEFORE
 * (worker-agent/guest/scripts.ts).
 */
test('the table is the one that is recorded for its number', () => {
  const recorded = readFileSync(join(import.meta.dirname, 'guest-tables', version.split('-')[0]!), 'utf8');
  expect([...table].map(([name, kinds]) => [name, ...kinds].join(' '))).toEqual(recorded.trim().split('\n'));
});

test('each row of the table is a subcommand of a file, each subcommand is a row, and the gate can read them', () => {
  const cases = FILES.filter((name) => /^case \$(subcommand|\{1-\}) in$/m.test(name.endsWith('.sh') ? read(name) : ''));
  const subcommands = cases.flatMap((name) =>
    [
      ...read(name)
        .split(/^case \$(?:subcommand|\{1-\}) in$/m)[1]!
        .matchAll(/^ {2}([a-z-]+)\) /gm),
    ].map(([, subcommand]) => `${name.replace('.sh', '')} ${subcommand}`),
  );
  expect(subcommands.sort()).toEqual([...table.keys()].sort());
  for (const row of read('table').split('\n'))
    expect(row).toMatch(/^(#.*|([a-z-]+ +[a-z-]+( +[a-z.]+( [a-z.]+)*)?)?)$/);
});

/** A home, the scripts in a folder beside the one where they are installed, and install.sh. */
function home(shell: Shell) {
  const dir = temporaryDir();
  const place = join(dir.path, '.tartbeat/guest', version);
  const unpack = (name: string) => {
    const unpacked = join(dir.path, '.tartbeat', name);
    cpSync(folder, unpacked, { recursive: true });
    return unpacked;
  };
  const env: NodeJS.Dict<string> = { PATH: process.env.PATH, HOME: dir.path };
  return {
    ...dir,
    place,
    unpack,
    env,
    install: (unpacked: string, what = version) =>
      spawnSync(shell, [join(unpacked, 'install.sh'), what], { env, encoding: 'utf8' }),
    installAsync: (unpacked: string): ChildProcess => spawn(shell, [join(unpacked, 'install.sh'), version], { env }),
    contents: () =>
      Object.fromEntries(readdirSync(place).map((name) => [name, readFileSync(join(place, name), 'utf8')])),
  };
}
const whole = Object.fromEntries(FILES.map((name) => [name, read(name)]));

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const holds = (sentence: string, check: () => void | Promise<void>) => declare(`${shell}: ${sentence}`, check);

  holds('scripts are installed whole, once, and may be installed again', () => {
    using guest = home(shell);
    for (const name of ['new-1', 'new-2']) {
      expect(guest.install(guest.unpack(name))).toMatchObject({ status: 0, stdout: '', stderr: '' });
      expect(guest.contents()).toEqual(whole);
    }
    expect(spawnSync(join(guest.place, 'checks.sh'), ['clock'], { encoding: 'utf8' }).stdout).toMatch(/^\d+\n$/);
  });

  holds('files that are missing, changed, added or of another version are not installed', () => {
    using guest = home(shell);
    const damages: ((unpacked: string) => void)[] = [
      (unpacked) => rmSync(join(unpacked, 'power.sh')),
      (unpacked) => rmSync(join(unpacked, 'version')),
      (unpacked) => writeFileSync(join(unpacked, 'log.sh'), read('log.sh').slice(0, -1)),
      (unpacked) => writeFileSync(join(unpacked, 'z.sh'), ''),
      (unpacked) => writeFileSync(join(unpacked, 'version'), '1-0000000000000000\n'),
    ];
    for (const [index, damage] of damages.entries()) {
      const unpacked = guest.unpack(`new-${index}`);
      damage(unpacked);
      const { status, stderr } = guest.install(unpacked);
      expect([status, stderr]).toEqual([DAMAGED, expect.stringContaining('do not match version')]);
    }
    expect(guest.install(guest.unpack('new'), '2-0000000000000000').status).toBe(DAMAGED);
    expect(existsSync(join(guest.path, '.tartbeat/guest'))).toBe(false);
  });

  holds('installed twice at the same time, they are there once', async () => {
    using guest = home(shell);
    const both = ['new-1', 'new-2'].map((name) => guest.installAsync(guest.unpack(name)));
    const codes = await Promise.all(both.map((child) => new Promise((resolve) => child.once('close', resolve))));
    expect(codes).toEqual([0, 0]);
    expect(guest.contents()).toEqual(whole);
  });

  // Only bash runs a trap between two commands.
  if (shell === 'bash')
    holds('what another installation has put there meanwhile stays', () => {
      using guest = home(shell);
      const meanwhile = join(guest.path, 'meanwhile.sh');
      writeFileSync(
        meanwhile,
        `trap 'case $BASH_COMMAND in "rm -"*)
           [ -d "$place" ] || { cp -R "$PWD" "$place"; echo other >"$place/owner"; } ;;
         esac' DEBUG\n`,
      );
      guest.env.BASH_ENV = meanwhile;
      expect(guest.install(guest.unpack('new')).status).toBe(0);
      expect(guest.contents()).toEqual({ ...whole, owner: 'other\n' });
    });

  holds('a link to scripts that the image has no more is replaced', () => {
    using guest = home(shell);
    mkdirSync(join(guest.path, '.tartbeat/guest'), { recursive: true });
    symlinkSync('/nonexistent', guest.place);
    expect(guest.install(guest.unpack('new')).status).toBe(0);
    expect(guest.contents()).toEqual(whole);
  });

  holds('what needs no bash does the same in any shell', () => {
    using guest = home(shell);
    const root = guest.path;
    const run = (file: string, args: readonly string[], input: string | Buffer = '') => {
      const env = { ...guest.env, TARTBEAT_ROOT: root };
      const { status, stdout } = spawnSync(shell, [join(folder, `${file}.sh`), ...args], { env, input });
      return { status, stdout: stdout.toString() };
    };
    const key = ['b-1', 'b', '1'];
    const state = join(root, '.tartbeat/b-1');
    expect(run('build', ['status', ...key])).toEqual({ status: 0, stdout: '' });
    expect(run('inputs', ['prepare', ...key])).toEqual({ status: 0, stdout: '' });
    writeFileSync(join(root, 'a name'), 'content\n');
    const archive = execFileSync('tar', ['-cf', '-', '-C', root, 'a name']);
    expect(run('inputs', ['unpack', ...key, String(archive.length + 1)], archive).status).toBe(3);
    expect(run('inputs', ['unpack', ...key, '4'], 'oops').status).toBe(4);
    expect(run('inputs', ['unpack', ...key, String(archive.length)], archive)).toEqual({ status: 0, stdout: '' });
    expect(run('artifacts', ['list', ...key, '.', './absent'])).toEqual({ status: 0, stdout: './a name\0\x008\n' });
    expect(run('artifacts', ['read-file', ...key, './a name']).stdout).toBe('content\n');
    expect(run('artifacts', ['pack-files', ...key], './a name\0').stdout).toContain('content\n');
    expect(run('inputs', ['secret', ...key, 'k.p8', '2'], '1').status).toBe(3);
    expect(run('inputs', ['secret', ...key, 'k.p8', '2'], '12')).toEqual({ status: 0, stdout: '' });
    expect(readFileSync(join(state, 'secrets/k.p8'), 'utf8')).toBe('12');
    expect(run('inputs', ['remove-secrets', ...key])).toEqual({ status: 0, stdout: '' });
    expect(existsSync(join(state, 'secrets'))).toBe(false);
    expect(run('build', ['app', ...key])).toEqual({ status: 0, stdout: '' });
    writeFileSync(join(state, 'app.json'), '{"id":"a.b"}');
    expect(run('build', ['app', ...key])).toEqual({ status: 0, stdout: '{"id":"a.b"}' });
    expect(run('build', ['number', ...key, '3'], '41').status).toBe(3);
    expect(existsSync(join(state, 'number'))).toBe(false);
    expect(run('build', ['number', ...key, '3'], '41\n')).toEqual({ status: 0, stdout: '' });
    expect(readFileSync(join(state, 'number'), 'utf8')).toBe('41\n');
    mkdirSync(join(state, 'started'));
    writeFileSync(join(state, 'exit.7'), '');
    appendFileSync(join(root, 'tmp/build.log'), '0123456789');
    expect(run('build', ['status', ...key])).toEqual({ status: 0, stdout: 'alive=0\nexit=7\nrestarted=0\nsize=10\n' });
    expect(run('log', ['read', '3', '4'])).toEqual({ status: 0, stdout: '2345' });
    expect(run('build', ['kill', ...key])).toEqual({ status: 0, stdout: '' });
    expect(run('monitor-control', ['alive', ...key]).status).toBe(1);
    expect(run('monitor-control', ['stop', ...key])).toEqual({ status: 0, stdout: '' });
    writeFileSync(join(state, 'monitor.log'), 'one\ntwo\n');
    expect(run('monitor-control', ['log', ...key, '4'])).toEqual({ status: 0, stdout: 'two\n' });
    expect(run('checks', ['image'])).toEqual({ status: 0, stdout: '' });
    expect(run('checks', ['monitor'])).toEqual({ status: 1, stdout: '' });
    expect(run('checks', ['disk']).stdout).toContain('%');
    expect(run('evidence', ['look']).stdout).toMatch(
      /^## disk\n[\s\S]*## load\n[\s\S]*## memory\n[\s\S]*## processes\n/,
    );
  });

  /** An attempt with an unpacked source, in a folder that also has an `outside`. */
  function withSource() {
    const guest = home(shell);
    const state = join(guest.path, '.tartbeat/b-1');
    for (const folder of [join(state, 'source/apps/mobile'), join(guest.path, 'outside')])
      mkdirSync(folder, { recursive: true });
    const run = (args: readonly string[], input = '') =>
      spawnSync(shell, [join(folder, 'inputs.sh'), args[0]!, 'b-1', 'b', '1', ...args.slice(1)], {
        env: { ...guest.env, TARTBEAT_ROOT: guest.path },
        encoding: 'utf8',
        input,
      });
    return {
      [Symbol.dispose]: () => guest[Symbol.dispose](),
      state,
      source: join(state, 'source'),
      outside: join(guest.path, 'outside'),
      work: join(guest.path, '.tartbeat/expo/work'),
      give: (path: string, text: string) => run(['secret', path, String(text.length)], text).status,
      remove: () => run(['remove-secrets']),
    };
  }
  const PLACES = ['.env.production', 'apps/mobile/GoogleService-Info.plist', '-a/new  folder/ü.p8'];

  holds('a secret file gets its place in the source and among the secrets, and leaves both', () => {
    using guest = withSource();
    writeFileSync(join(guest.source, '.env.production'), 'of the source');
    for (const path of PLACES) for (const text of ['first', 'then']) expect(guest.give(path, text)).toBe(0);
    const places = PLACES.flatMap((path) => [join(guest.source, path), join(guest.state, 'secrets', path)]);
    for (const place of places) {
      expect(readFileSync(place, 'utf8')).toBe('then');
      expect(statSync(place).mode & 0o777).toBe(0o600);
    }
    expect(readdirSync(join(guest.source, 'apps/mobile'))).toEqual(['GoogleService-Info.plist']);
    // The copies in the engine's own folder.
    cpSync(guest.source, join(guest.work, 'build'), { recursive: true });
    writeFileSync(join(guest.work, '../project.tar.gz'), 'packed');
    expect(guest.remove()).toMatchObject({ status: 0, stdout: '', stderr: '' });
    for (const place of places) expect(existsSync(place)).toBe(false);
    for (const path of PLACES) expect(existsSync(join(guest.work, 'build', path))).toBe(false);
    expect(existsSync(join(guest.work, '../project.tar.gz'))).toBe(false);
    expect(existsSync(join(guest.source, '-a/new  folder'))).toBe(true);
    expect(guest.remove().status).toBe(0);
  });

  holds('a secret file replaces a link, and leaves the source by none', () => {
    using guest = withSource();
    const link = (target: string, name: string) => symlinkSync(target, join(guest.source, name));
    link(guest.outside, 'out');
    link('nowhere', 'dangling');
    link('apps', 'inside');
    link(guest.outside, 'apps/folder');
    writeFileSync(join(guest.outside, 'file'), 'stays');
    link(join(guest.outside, 'file'), 'apps/file');
    writeFileSync(join(guest.source, 'plain'), 'stays');
    for (const path of ['out/a', 'out/b/c', 'dangling/a', 'plain/a', 'apps/mobile'])
      expect(guest.give(path, 'secret'), path).toBe(5);
    for (const path of ['apps/folder', 'apps/file', 'inside/mobile/b', 'dangling'])
      expect(guest.give(path, 'secret'), path).toBe(0);
    expect(readFileSync(join(guest.source, 'apps/folder'), 'utf8')).toBe('secret');
    expect(readFileSync(join(guest.source, 'apps/mobile/b'), 'utf8')).toBe('secret');
    // The build has put a link in the place of a folder.
    rmSync(join(guest.source, 'apps'), { recursive: true });
    link(guest.outside, 'apps');
    expect(guest.remove().status).toBe(0);
    expect(readdirSync(guest.outside)).toEqual(['file']);
    expect(readFileSync(join(guest.outside, 'file'), 'utf8')).toBe('stays');
    expect(readdirSync(guest.source).sort()).toEqual(['apps', 'inside', 'out', 'plain']);
  });

  /** `log.sh follow` of an attempt b-1 whose command runs, and whose log is the file `log`. */
  function following(looks = 1, stubs: Record<string, string> = {}) {
    const guest = home(shell);
    const log = join(guest.path, 'tmp/build.log');
    for (const name of ['tmp', 'stubs', '.tartbeat/b-1/started'])
      mkdirSync(join(guest.path, name), { recursive: true });
    for (const [name, script] of Object.entries(stubs))
      writeFileSync(join(guest.path, 'stubs', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    writeFileSync(log, '');
    const env = { ...guest.env, PATH: `${join(guest.path, 'stubs')}:${process.env.PATH}`, TARTBEAT_ROOT: guest.path };
    const started: ChildProcess[] = [];
    return {
      log,
      state: join(guest.path, '.tartbeat/b-1'),
      from(first: number) {
        const args = [join(folder, 'log.sh'), 'follow', 'b-1', 'b', '1', String(first), String(looks)];
        const child = spawn(shell, args, { env, stdio: ['ignore', 'pipe', 'ignore'], detached: true });
        started.push(child);
        const pieces = child.stdout![Symbol.asyncIterator]();
        const frames = framesOf(async () => (await pieces.next()).value ?? null);
        return {
          ended: new Promise<number | null>((resolve) => child.once('exit', resolve)),
          hangUp: () => child.stdout!.destroy(),
          next: async () => (await frames.next()).value,
          /** The next frame of this kind. */
          async until(kind: Frame['kind']) {
            for (;;) {
              const { value } = await frames.next();
              if (!value || value.kind === kind) return value?.bytes.toString('latin1');
            }
          },
        };
      },
      [Symbol.dispose]() {
        for (const { pid } of started)
          try {
            process.kill(-pid!, 'SIGKILL');
          } catch {
            // It has ended.
          }
        guest[Symbol.dispose]();
      },
    };
  }
  const status = (size: number, exit = '') => `alive=0\nexit=${exit}\nrestarted=0\nsize=${size}\n`;

  holds('a build is followed from a byte of its log on: its state at once, then what is new', async () => {
    using build = following(1_000);
    writeFileSync(build.log, 'one\n');
    const follow = build.from(3);
    expect(await follow.next()).toEqual({ kind: 'status', bytes: Buffer.from(status(4)) });
    expect(await follow.until('log')).toBe('e\n');
    appendFileSync(build.log, '\0log 3\n\xff');
    expect(await follow.until('log')).toBe(Buffer.from('\0log 3\n\xff').toString('latin1'));
    writeFileSync(join(build.state, 'exit.7'), '');
    expect(await follow.until('status')).toBe(status(13, '7'));
  });

  holds('a build that was not started is followed without a state', async () => {
    using build = following();
    rmSync(build.state, { recursive: true });
    const follow = build.from(1);
    for (let count = 0; count < 3; count++)
      expect(await follow.next()).toEqual({ kind: 'status', bytes: Buffer.from('') });
  });

  holds('who follows a build ends the one before, whose reader may never be missed', async () => {
    using build = following();
    const first = build.from(1);
    await first.until('status');
    const second = build.from(1);
    expect(await first.ended).toBe(0);
    appendFileSync(build.log, 'on');
    expect(await second.until('log')).toBe('on');
  });

  holds('of two that begin to follow at the same time, one goes on at most', async () => {
    // Neither goes on before both have deleted what they found.
    const together = '/bin/rm "$@"; : >"$0.$$"; set -- "$0".*; until [ $# -ge 2 ]; do sleep 0.05; set -- "$0".*; done';
    using build = following(1, { rm: together });
    expect(await Promise.race([build.from(1).ended, build.from(1).ended])).toBe(0);
  });

  holds('a quiet log is followed no longer than it is read', async () => {
    using build = following();
    const follow = build.from(1);
    await follow.until('status');
    follow.hangUp();
    expect([0, null]).toContain(await follow.ended);
  });

  holds('a log that is shortened while it is read cuts the last frame off', async () => {
    using build = following(1_000, { wc: 'cat >/dev/null; echo 10' });
    writeFileSync(build.log, '12345');
    const follow = build.from(1);
    await follow.until('status');
    expect(await follow.until('log')).toBeUndefined();
    expect(await follow.ended).toBe(1);
  });

  holds('a restart of the guest since the build began shows, and a system that cannot tell shows none', () => {
    using guest = home(shell);
    const stubs = join(guest.path, 'stubs');
    mkdirSync(stubs);
    const restartedWith = (session: string) => {
      writeFileSync(join(stubs, 'sysctl'), `#!/bin/sh\n${session}\n`, { mode: 0o755 });
      const env = { ...guest.env, PATH: `${stubs}:${process.env.PATH}`, TARTBEAT_ROOT: guest.path };
      const { stdout } = spawnSync(shell, [join(folder, 'build.sh'), 'status', 'b-1', 'b', '1'], { env });
      return /^restarted=(\d)$/m.exec(stdout.toString())?.[1];
    };
    mkdirSync(join(guest.path, '.tartbeat/b-1/started'), { recursive: true });
    const begun = join(guest.path, '.tartbeat/b-1/boot');
    writeFileSync(begun, 'A1\n');
    expect(restartedWith('[ "$*" = "-n kern.bootsessionuuid" ] && echo A1')).toBe('0');
    expect(restartedWith('[ "$*" = "-n kern.bootsessionuuid" ] && echo B2')).toBe('1');
    expect(restartedWith('echo "unknown oid" >&2; exit 1')).toBe('0');
    writeFileSync(begun, '');
    expect(restartedWith('echo B2')).toBe('0');
  });

  holds('processes that macOS has killed for memory are counted, those of the image’s own past are not', () => {
    using guest = home(shell);
    const reports = join(guest.path, 'Library/Logs/DiagnosticReports');
    mkdirSync(reports, { recursive: true });
    const look = () => {
      const env = { ...guest.env, TARTBEAT_ROOT: guest.path };
      const { stdout } = spawnSync(shell, [join(folder, 'evidence.sh'), 'look'], { env });
      return parseMemoryKills(stdout.toString());
    };
    const killed = (name: string, reasons: string[]) => {
      const processes = [{ name: 'kernel_task' }, ...reasons.map((reason) => ({ name: 'node', reason }))];
      writeFileSync(join(reports, name), JSON.stringify({ processes }, null, 2).replaceAll('": ', '" : '));
    };
    expect(look()).toBe(0);
    killed('JetsamEvent-2026-01-01-000000.ips', ['vm-pageshortage']);
    utimesSync(join(reports, 'JetsamEvent-2026-01-01-000000.ips'), 1_000, 1_000);
    mkdirSync(join(guest.path, '.tartbeat/b-1'), { recursive: true });
    utimesSync(join(guest.path, '.tartbeat'), 2_000, 2_000);
    expect(look()).toBe(0);
    killed('JetsamEvent-2026-01-02-000000.ips', ['vm-compressor-space-shortage', 'vm-pageshortage']);
    killed('JetsamEvent-2026-01-03-000000.ips', ['per-process-limit']);
    expect(look()).toBe(2);
  });

  holds('a subcommand that does not exist is a usage error', () => {
    using guest = home(shell);
    mkdirSync(join(guest.path, '.tartbeat/b-1/source'), { recursive: true });
    for (const file of new Set([...table.keys()].map((name) => name.split(' ')[0]!))) {
      const args = [join(folder, `${file}.sh`), 'frobnicate', 'b-1', 'b', '1'];
      const { status, stdout, stderr } = spawnSync(shell, args, { env: guest.env, encoding: 'utf8' });
      expect([status, stdout, stderr]).toEqual([64, '', expect.stringContaining('unknown subcommand')]);
    }
  });
}
