import { existsSync, mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { ClientChannel, ConnectConfig } from 'ssh2';
import { expect } from 'vitest';
import { SshServer } from '../../../worker-agent/tart-simulator/guest/ssh-server.ts';
import { generateKeyPair } from '../../../worker-agent/tart-simulator/key-pair.ts';
import { testWith } from '../../set-up/test-with.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';
import { startOpenSsh } from '../servers/openssh-server.ts';
import { connectSsh, type SshClient } from './simulated-mac.ts';

/** One table for two servers: the simulator's behaves like OpenSSH's in all that the agent relies on. */
interface TestServer extends AsyncDisposable {
  config: ConnectConfig;
  /** Log in with the key that is tied to TIED_TO. */
  tied: ConnectConfig;
  home: string;
}

/** Runs for every request of this key, whatever it asks for. */
const TIED_TO = 'echo tied: \\"$SSH_ORIGINAL_COMMAND\\" $(env | grep -c ^SSH_ORIGINAL_COMMAND=); cat; exit 5';

async function simulated(): Promise<TestServer> {
  const directory = temporaryDir();
  const home = join(directory.path, 'home');
  mkdirSync(home);
  const [client, tied] = [generateKeyPair(), generateKeyPair()];
  const server = new SshServer({
    hostKey: generateKeyPair().private,
    user: userInfo().username,
    home,
    authorizedKeys: () => `# a comment\n\n${client.public}\nrestrict,command="${TIED_TO}" ${tied.public}\n`,
    environment: () => ({ HOME: home, PATH: '/usr/bin:/bin:/usr/sbin:/sbin' }),
  });
  await server.listen(0, '127.0.0.1');
  const config = { host: '127.0.0.1', port: server.port, username: userInfo().username, privateKey: client.private };
  return {
    home,
    config,
    tied: { ...config, privateKey: tied.private },
    async [Symbol.asyncDispose]() {
      server.close();
      directory[Symbol.dispose]();
    },
  };
}

async function openSsh(): Promise<TestServer> {
  const server = await startOpenSsh({ tiedTo: TIED_TO });
  const { host, port, user, privateKey } = server.target;
  const config = { host, port, username: user, privateKey };
  return {
    home: server.home,
    config,
    tied: { ...config, privateKey: server.tied.privateKey },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const channelOf = (ssh: SshClient, command: string) =>
  new Promise<ClientChannel>((resolve, reject) =>
    ssh.client.exec(command, (error, channel) => (error ? reject(error) : resolve(channel))),
  );
const refusal = (promise: Promise<SshClient>) =>
  promise.then(
    () => 'accepted',
    (error: { level?: string }) => error.level ?? 'closed',
  );
const file = (server: TestServer, name: string) => join(server.home, name);

const CASES: Record<string, (ssh: SshClient, server: TestServer) => Promise<void>> = {
  'a command knows from which address it is asked': async (ssh, { config }) => {
    const { stdout } = await ssh.exec('echo "$SSH_CONNECTION"');
    expect(stdout).toMatch(new RegExp(`^127\\.0\\.0\\.1 [1-9]\\d* 127\\.0\\.0\\.1 ${config.port}\\n$`));
  },
  'the exit status arrives': async (ssh) => {
    expect(await ssh.exec('exit 7')).toEqual({ stdout: '', stderr: '', code: 7, signal: undefined });
  },
  'the signal that ended a command arrives': async (ssh) => {
    expect(await ssh.exec('kill -KILL $$')).toMatchObject({ code: undefined, signal: 'KILL' });
  },
  'a command that does not exist is 127': async (ssh) => {
    expect(await ssh.exec('no-such-command-here')).toMatchObject({ code: 127 });
  },
  'stdout and stderr are two streams': async (ssh) => {
    expect(await ssh.exec('echo out; echo err >&2')).toMatchObject({ stdout: 'out\n', stderr: 'err\n', code: 0 });
  },
  'standard input arrives with its end': async (ssh) => {
    expect(await ssh.exec('cat; echo end', 'one\ntwo\n')).toMatchObject({ stdout: 'one\ntwo\nend\n' });
  },
  'much input and much output arrive whole': async (ssh) => {
    const { stdout, code } = await ssh.exec('cat', 'x'.repeat(3_000_000));
    expect({ length: stdout.length, code }).toEqual({ length: 3_000_000, code: 0 });
  },
  'the channel stays while a background process holds stdout': async (ssh) => {
    expect((await ssh.exec('(sleep 1; echo late) & echo early')).stdout).toBe('early\nlate\n');
  },
  'the channel closes at once if nothing holds its output': async (ssh, server) => {
    const { stdout } = await ssh.exec(
      `(until [ -e ${file(server, 'closed')} ]; do sleep 0.1; done; touch ${file(server, 'seen')}) >/dev/null 2>&1 </dev/null & echo early`,
    );
    expect(stdout).toBe('early\n');
    await ssh.exec(`touch ${file(server, 'closed')}`);
    await until(() => existsSync(file(server, 'seen')), 'the background process lived on');
  },
  'a command that closes its output early still tells its exit status': async (ssh) => {
    expect(await ssh.exec('exec >&- 2>&-; sleep 0.5; exit 3')).toMatchObject({ code: 3 });
  },
  'the exit status arrives before the output ends': async (ssh, server) => {
    const seen = file(server, 'seen');
    const channel = await channelOf(ssh, `read; until [ -e ${seen} ]; do sleep 0.1; done & exit 4`);
    const order: string[] = [];
    channel.on('exit', (code: number) => order.push(`exit ${code}`)).on('close', () => order.push('close'));
    channel.resume().stderr.resume();
    channel.write('Now that somebody listens.\n');
    await until(() => order.includes('exit 4'), 'it ended');
    expect(order).toEqual(['exit 4']);
    await ssh.exec(`touch ${seen}`);
    await until(() => order.includes('close'), 'it closed');
  },
  'a dropped connection does not kill': async (ssh, server) => {
    await channelOf(ssh, `until [ -e ${file(server, 'dropped')} ]; do sleep 0.1; done; touch ${file(server, 'lived')}`);
    ssh.client.destroy();
    using other = await connectSsh(server.config);
    await other.exec(`touch ${file(server, 'dropped')}`);
    await until(() => existsSync(file(server, 'lived')), 'the command went on');
  },
  'a command whose channel has closed gets SIGPIPE when it writes': async (ssh, server) => {
    const channel = await channelOf(ssh, `bash -c 'yes; echo $? >${file(server, 'ended')}'`);
    channel.close();
    channel.resume();
    await until(() => existsSync(file(server, 'ended')), 'it ended');
  },
  'a command leads a process group and a session of its own': async (ssh) => {
    const { stdout } = await ssh.exec('echo $$ $(ps -o pgid= -o sess= -p $$)');
    const [pid, group, session] = stdout.trim().split(/\s+/);
    expect([group, session]).toEqual([pid, pid]);
  },
  'a connection has ten sessions, and an eleventh when one has ended': async (ssh) => {
    const channels = await Promise.all(Array.from({ length: 10 }, () => channelOf(ssh, 'cat')));
    await expect(channelOf(ssh, 'cat')).rejects.toThrow(/Channel open failure/);
    const closed = new Promise((resolve) => channels[0]!.once('close', resolve));
    channels[0]!.resume().end();
    await closed;
    await until(
      () =>
        ssh.exec('echo again').then(
          ({ stdout }) => stdout,
          () => '',
        ),
      'there is room again',
    );
  },
  'sixty commands at four at a time all answer': async (ssh) => {
    const answers: string[] = [];
    const worker = async () => {
      while (answers.length < 60) answers.push((await ssh.exec('echo x')).stdout);
    };
    await Promise.all(Array.from({ length: 4 }, worker));
    expect(new Set(answers)).toEqual(new Set(['x\n']));
  },
  'a key that is tied to a command runs that, whatever is asked for, with its input and exit status': async (
    _ssh,
    server,
  ) => {
    using ssh = await connectSsh(server.tied);
    expect(await ssh.exec("id; 'x'  $HOME", 'input')).toMatchObject({
      stdout: "tied: id; 'x'  $HOME 1\ninput",
      code: 5,
    });
    expect(await ssh.exec('')).toMatchObject({ code: 5 });
    const shell = await new Promise<ClientChannel>((resolve, reject) =>
      ssh.client.shell(false, (error, channel) => (error ? reject(error) : resolve(channel))),
    );
    shell.end();
    expect(String(Buffer.concat(await shell.toArray()))).toBe('tied:  0\n');
  },
  'a key that is restricted gets no terminal, forwards no port and transfers no file': async (_ssh, server) => {
    using ssh = await connectSsh(server.tied);
    const refused = (ask: (done: (error: Error | undefined) => void) => void) =>
      new Promise((resolve) => ask((error) => resolve(error === undefined ? 'granted' : 'refused')));
    const { client } = ssh;
    expect(await refused((done) => client.exec('id', { pty: true }, done))).toBe('refused');
    expect(await refused((done) => client.forwardOut('127.0.0.1', 1, '127.0.0.1', server.tied.port!, done))).toBe(
      'refused',
    );
    expect(await refused((done) => client.forwardIn('127.0.0.1', 0, done))).toBe('refused');
    expect(await refused((done) => client.sftp(done))).toBe('refused');
  },
  'a password, another key and another user are refused': async (_ssh, { config }) => {
    const { privateKey: _, ...keyless } = config;
    const other = generateKeyPair().private;
    expect(await refusal(connectSsh({ ...keyless, password: 'admin' }))).toBe('client-authentication');
    expect(await refusal(connectSsh({ ...config, privateKey: other }))).toBe('client-authentication');
    expect(await refusal(connectSsh({ ...config, username: 'nobody-here' }))).toBe('client-authentication');
  },
};

for (const [name, declare, start] of [
  ['the simulator', testWith(), simulated],
  ['OpenSSH', testWith('sshd'), openSsh],
] as const)
  for (const [sentence, check] of Object.entries(CASES))
    declare(`${name}: ${sentence}`, async () => {
      await using server = await start();
      using ssh = await connectSsh(server.config);
      await check(ssh, server);
    });
