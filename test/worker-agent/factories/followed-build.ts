/**
 * Runs a build on a real OpenSSH server as its VM, and follows it. Counts the commands that the session
 * sends. The connections pass through a door that a test may shut.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { LogFollower, type LogFollowerOptions } from '../../../worker-agent/build-log/follower.ts';
import { prepareBuild, startBuild } from '../../../worker-agent/guest/commands.ts';
import { ownScripts } from '../../../worker-agent/guest/scripts.ts';
import { Guest, type GuestOptions } from '../../../worker-agent/guest/session.ts';
import { connectSsh, type Ssh } from '../../../worker-agent/guest/ssh.ts';
import { startOpenSsh } from '../servers/openssh-server.ts';
import { temporaryDir } from './temporary-dir.ts';

export const KEY = { buildId: 'b', attempt: 1 };

export async function followedBuild(command: string, options: { guest?: Partial<GuestOptions> } = {}) {
  const server = await startOpenSsh();
  const door = await openDoor(server.target.port);
  const dir = temporaryDir();
  const commands: string[] = [];
  const counted = async (): Promise<Ssh> => {
    const ssh = await connectSsh({ ...server.target, port: door.port });
    return {
      ...ssh,
      exec: (one, rest) => {
        commands.push(one.name);
        return ssh.exec(one, rest);
      },
      stream: (one, rest) => {
        commands.push(one.name);
        return ssh.stream(one, rest);
      },
    };
  };
  let ssh = await counted();
  for (const one of [prepareBuild(KEY), startBuild({ ...KEY, command, env: {} })]) {
    const { exitCode, stderr } = await ssh.exec(one, { timeoutMs: 30_000 });
    if (exitCode !== 0) throw new Error(`${one.name} failed: ${stderr}`);
  }
  commands.length = 0;
  const vm = {
    scripts: { seen: null, version: ownScripts().version },
    get ssh() {
      return ssh;
    },
    async reconnect() {
      ssh.close();
      ssh = await counted();
      return ssh;
    },
  };
  const sessionIn = (signal: AbortSignal) =>
    new Guest({
      vm,
      deadLimitMs: 60_000,
      slowLimitMs: 60_000,
      vmBeats: () => true,
      onReconnected: () => {},
      signal,
      ...options.guest,
    });
  let ended = new AbortController();
  let guest = sessionIn(ended.signal);
  const end = () => ended.abort(new Error('the agent has ended'));
  const path = join(dir.path, 'build.log');
  const log = join(server.home, 'tmp/build.log');
  return {
    get guest() {
      return guest;
    },
    get signal() {
      return ended.signal;
    },
    vm,
    door,
    /** The commands that were sent to the VM since the build was started. */
    commands,
    end,
    /** Ends the agent at once, with its connection, and starts it anew. */
    async restart() {
      end();
      await vm.reconnect();
      ended = new AbortController();
      guest = sessionIn(ended.signal);
    },
    follower: (more: Partial<LogFollowerOptions> = {}) =>
      LogFollower.open({
        guest,
        key: KEY,
        path,
        needles: [],
        baseline: null,
        freshMs: 10_000,
        ...more,
      }),
    /** The output of the build, and the part of it that was kept. */
    printed: () => readFileSync(log),
    kept: () => readFileSync(path),
    /** Makes a file in the home of the build, for which its command may wait. */
    letGo(name = 'go') {
      const path = join(server.home, name);
      writeFileSync(path, '');
      return path;
    },
    /** Adds a program that the guest finds before the system's. */
    program(name: string, script: string) {
      mkdirSync(join(server.home, 'bin'), { recursive: true });
      writeFileSync(join(server.home, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    },
    /** Processes of the guest whose command line has this text, or the process groups that they are in. */
    async processes(text: string, id: 'pid' | 'pgid' = 'pid') {
      const { stdout } = await execa('ps', ['-A', '-ww', '-o', `${id}=,args=`]);
      const lines = stdout.split('\n').filter((line) => line.includes(server.home) && line.includes(text));
      return lines.map((line) => Number.parseInt(line, 10));
    },
    async [Symbol.asyncDispose]() {
      end();
      ssh.close();
      door.close();
      await server[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    },
  };
}

/** Passes connections on. Cuts the next ones after so many bytes from the server, as `cuts` says. */
async function openDoor(target: number) {
  const cuts: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((inner) => {
    const outer = connect({ host: '127.0.0.1', port: target, noDelay: true });
    let leftBytes = cuts.shift() ?? Number.POSITIVE_INFINITY;
    for (const [socket, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
    }
    inner.pipe(outer);
    outer.on('data', (chunk: Buffer) => {
      inner.write(chunk.subarray(0, Math.max(0, leftBytes)));
      leftBytes -= chunk.length;
      if (leftBytes <= 0) inner.destroySoon();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    cuts,
    /** Cuts all present connections, without a message. */
    cutNow() {
      for (const socket of sockets) socket.destroy();
      sockets.clear();
    },
    close() {
      this.cutNow();
      server.close();
    },
  };
}
