/**
 * Tests what the guest scripts see of the account of a build, with stand-ins that print what the ps and the
 * netstat of macOS print.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { parseBuildStatus, parseUsage } from '../../../worker-agent/guest/answers.ts';
import { parseProcesses } from '../../../worker-agent/guest/processes.ts';
import { ownScripts } from '../../../worker-agent/guest/scripts.ts';
import { testWith } from '../../set-up/test-with.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { SHELLS, type Shell } from '../factories/guest-script.ts';

const { folder } = ownScripts();
const ME = process.getuid!();

interface Shown {
  pid: number;
  parent?: number;
  group?: number;
  uid?: number;
  time?: string;
  name?: string;
  elapsed?: string;
}

const NETSTAT = `Name       Mtu   Network       Address            Ipkts Ierrs     Ibytes    Opkts Oerrs     Obytes  Coll
lo0        16384 <Link#1>                        252623     0  368415571   252623     0  368415571     0
lo0        16384 127           127.0.0.1         252623     -  368415571   252623     -  368415571     -
gif0*      1280  <Link#2>                             0     0          0        0     0          0     0
en0        1500  <Link#4>    04:0c:ce:db:4e:fa 20328868     0 13309516362 14810885     0 11363839527     0
en0        1500  192.168.64    192.168.64.63   20328868     - 13309516362 14810885     - 11363839527     -
utun0      1380  <Link#5>                             3     0        100        3     0         23     0
`;

/** A VM whose ps and netstat print what the test says. */
function vm(shell: Shell) {
  const dir = temporaryDir();
  const state = join(dir.path, '.tartbeat/b-1');
  const stubs = join(dir.path, 'stubs');
  for (const path of [state, stubs]) mkdirSync(path, { recursive: true });
  writeFileSync(join(state, 'monitor.pgid'), '300\n');
  const stub = (name: string, text: string) =>
    writeFileSync(join(stubs, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const show = (columns: string, lines: string[]) => {
    writeFileSync(join(stubs, 'shown'), `${lines.join('\n')}\n`);
    const form = `-axww -o pid=,ppid=,pgid=,uid=,${columns}`;
    stub('ps', `case "$*" in '-o stat= -p '*) echo S ;; '${form}') exec cat '${stubs}/shown' ;; *) exit 1 ;; esac`);
  };
  const run = (file: string, subcommand: string) => {
    const env = { PATH: `${stubs}:${process.env.PATH}`, HOME: dir.path, TARTBEAT_ROOT: dir.path };
    return spawnSync(shell, [join(folder, `${file}.sh`), subcommand, 'b-1', 'b', '1'], { env, encoding: 'utf8' });
  };
  return {
    ...dir,
    state,
    stub,
    show,
    run,
    /** The usage, if these are the processes. */
    usage(processes: Shown[]) {
      show(
        'time=,ucomm=',
        processes.map(
          ({ pid, parent = 1, group = pid, uid = ME, time = '0:00.00', name = 'node' }) =>
            `${String(pid).padStart(6)} ${parent} ${group}  ${uid} ${time.padStart(10)} ${name}`,
        ),
      );
      const { stdout, stderr } = run('build', 'usage');
      expect(stderr).toBe('');
      return parseUsage(stdout);
    },
  };
}

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const holds = (sentence: string, check: () => void) => declare(`${shell}: ${sentence}`, check);

  holds('the CPU time of the account is added up, also of processes that have ended', () => {
    using mac = vm(shell);
    mac.stub('netstat', `cat <<'END'\n${NETSTAT}END`);
    const cpuMs = (processes: Shown[]) => mac.usage(processes)!.cpuMs;
    const start = cpuMs([{ pid: 10, time: '1:40.25' }]);
    expect(start).toBe(100_250);
    // One process goes on, and another begins.
    expect(
      cpuMs([
        { pid: 10, time: '1:40.50' },
        { pid: 11, time: '0:02.00' },
      ]) - start,
    ).toBe(2_250);
    // One has ended, and its usage stays. A pid with a younger process counts whole.
    expect(cpuMs([{ pid: 11, time: '0:00.50' }]) - start).toBe(2_750);
    expect(cpuMs([]) - start).toBe(2_750);
    // More than an hour, in macOS's form and in Linux's.
    expect(cpuMs([{ pid: 12, time: '120:00.01' }]) - start).toBe(2_750 + 7_200_010);
    expect(
      cpuMs([
        { pid: 13, time: '01:00:02' },
        { pid: 14, time: '1-00:00:00' },
      ]) - start,
    ).toBe(2_750 + 7_200_010 + 3_602_000 + 86_400_000);
  });

  holds('neither other accounts count, nor the monitor, nor what runs below an SSH session', () => {
    using mac = vm(shell);
    mac.stub('netstat', 'exit 1');
    const usage = mac.usage([
      { pid: 1, parent: 0, uid: ME + 1, time: '9:00.00', name: 'launchd' },
      { pid: 90, uid: ME + 1, time: '9:00.00', name: 'WindowServer' },
      { pid: 300, time: '9:00.00', name: 'sh' },
      { pid: 301, parent: 300, group: 300, time: '9:00.00', name: 'curl' },
      { pid: 400, uid: ME + 1, time: '9:00.00', name: 'sshd-session' },
      { pid: 401, parent: 400, time: '9:00.00', name: 'sshd-session' },
      { pid: 402, parent: 401, time: '9:00.00', name: 'bash' },
      { pid: 403, parent: 402, time: '9:00.00', name: 'ps' },
      // The build: its shell was started over SSH and has no parent any more. Its daemon has a group of its
      // own.
      { pid: 500, time: '0:00.10', name: 'bash' },
      { pid: 501, parent: 500, group: 500, time: '0:00.20', name: 'Google Chrome He' },
      { pid: 600, time: '0:00.30', name: 'java' },
    ]);
    expect(usage!.cpuMs).toBe(600);
  });

  holds('bytes are those of every interface once, without loopback, and also with a column more', () => {
    using mac = vm(shell);
    const bytes = (text: string) => {
      mac.stub('netstat', `[ "$*" = -ibn ] && cat <<'END'\n${text}END`);
      return mac.usage([{ pid: 10 }])!.networkBytes;
    };
    expect(bytes(NETSTAT)).toBe(13_309_516_362 + 11_363_839_527 + 123);
    const wider = NETSTAT.replaceAll(/ Coll$/gm, ' Coll Drop').replaceAll(/ [0-]$/gm, ' 0 77');
    expect(bytes(wider)).toBe(13_309_516_362 + 11_363_839_527 + 123);
  });

  holds('while the list of processes cannot be had nothing is told, and the sum stays for the next look', () => {
    using mac = vm(shell);
    mac.stub('netstat', `cat <<'END'\n${NETSTAT}END`);
    const first = mac.usage([{ pid: 10, time: '0:01.00' }]);
    mac.stub('ps', 'exit 1');
    expect(mac.run('build', 'usage')).toMatchObject({ status: 0, stdout: '', stderr: '' });
    mac.show('time=,ucomm=', [`10 1 10 ${ME} 0:01.50 node`]);
    expect(parseUsage(mac.run('build', 'usage').stdout)!.cpuMs - first!.cpuMs).toBe(500);
  });

  holds('the status of a build that runs tells it, and looks again only after ten seconds', () => {
    using mac = vm(shell);
    mac.stub('netstat', 'exit 1');
    mkdirSync(join(mac.state, 'started'));
    writeFileSync(join(mac.state, 'build.pgid'), '500\n');
    mkdirSync(join(mac.path, 'tmp'));
    writeFileSync(join(mac.path, 'tmp/build.log'), '12345');
    mac.usage([{ pid: 10, time: '0:01.00' }]);
    mac.show('time=,ucomm=', [`10 1 10 ${ME} 0:09.00 node`]);
    const cpuMs = () => {
      const status = parseBuildStatus(mac.run('build', 'status').stdout);
      expect(status).toMatchObject({ state: 'running', logBytes: 5, usage: expect.anything() });
      return status?.state === 'running' ? status.usage!.cpuMs : null;
    };
    expect(cpuMs()).toBe(1_000);
    // As if that look had been ten seconds ago, and as if the clock had been set back since.
    const kept = join(mac.state, 'usage');
    const [seconds, ...rest] = readFileSync(kept, 'utf8').split(' ');
    writeFileSync(kept, [Number(seconds) - 10, ...rest].join(' '));
    expect(cpuMs()).toBe(9_000);
    writeFileSync(kept, [Number(seconds) + 3_600, ...rest].join(' '));
    expect(cpuMs()).toBe(9_000);
    writeFileSync(join(mac.state, 'exit.0'), '');
    expect(mac.run('build', 'status').stdout).toBe('alive=1\nexit=0\nrestarted=0\nsize=5\n');
  });

  holds('the processes of the build are listed with their arguments, and the agent understands them', () => {
    using mac = vm(shell);
    writeFileSync(join(mac.state, 'build.pgid'), '500\n');
    mac.show('etime=,pcpu=,stat=,args=', [
      `  400  1  400 0     17:10   0.0 Ss   sshd: admin [priv]`,
      `  401 400 401 ${ME}  00:01   0.0 S    /bin/bash evidence.sh processes`,
      `  500  1  500 ${ME}  17:05   0.0 S    /bin/bash build.sh`,
      `  501 500 500 ${ME}  17:04   0.1 S+   xcodebuild -scheme "My App"  test`,
    ]);
    const { stdout } = mac.run('evidence', 'processes');
    expect(parseProcesses(stdout, (text) => text)).toEqual([
      { pid: 501, elapsedMs: 1_024_000, cpuPercent: 0.1, state: 'S+', command: 'xcodebuild -scheme "My App"  test' },
      { pid: 500, elapsedMs: 1_025_000, cpuPercent: 0, state: 'S', command: '/bin/bash build.sh' },
    ]);
  });
}
