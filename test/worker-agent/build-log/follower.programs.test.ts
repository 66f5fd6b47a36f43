/** Follows builds on a real OpenSSH server: over one channel, through breaks, to their end. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { expect, onTestFinished, vi } from 'vitest';
import { StreamedLooks } from '../../../worker-agent/build-log/streamed-looks.ts';
import { stateName } from '../../../worker-agent/guest/arguments.ts';
import { echoAlive } from '../../../worker-agent/guest/commands.ts';
import { testWith } from '../../set-up/test-with.ts';
import { followedBuild, KEY } from '../factories/followed-build.ts';
import { until } from '../factories/until.ts';

const onServer = testWith('sshd');
const WAIT_FOR_GO = 'while [ ! -e "$HOME/go" ]; do sleep 0.05; done';
/** Bytes of all kinds, which look like frames, too. */
const ODD = String.raw`printf 'log 5\nstatus 3\n\0\377\r'; head -c 20000 /dev/urandom`;

onServer('a build of some seconds costs one command, and its bytes arrive as they were', async () => {
  await using build = await followedBuild(`for part in 1 2 3 4 5 6 7 8; do ${ODD}; sleep 0.5; done; exit 3`);
  const parts: Buffer[] = [];
  await using follower = await build.follower({ onBytes: (bytes) => parts.push(bytes) });
  expect(follower.outputAgeMs()).toBeUndefined();
  expect(follower.quietMs).toBeUndefined();
  expect(await follower.follow(build.signal)).toMatchObject({ exitCode: 3, restarted: false });
  expect(follower.outputAgeMs()).toBeGreaterThanOrEqual(0);
  expect(follower.quietMs).toBeGreaterThan(0);
  await follower.finish();
  expect(build.kept().equals(build.printed())).toBe(true);
  expect(Buffer.concat(parts).equals(build.printed())).toBe(true);
  expect(build.commands).toEqual(['log follow']);
});

onServer('a burst larger than one frame arrives whole', async () => {
  await using build = await followedBuild('head -c 11000000 /dev/urandom');
  await using follower = await build.follower();
  expect(await follower.follow(build.signal)).toMatchObject({ exitCode: 0 });
  await follower.finish();
  expect(build.kept().equals(build.printed())).toBe(true);
  expect(build.printed().length).toBe(11_000_000);
  expect(build.commands).toEqual(['log follow']);
});

onServer('connections that break at any byte lose nothing and repeat nothing', async () => {
  await using build = await followedBuild(
    `${WAIT_FOR_GO}; for part in 1 2 3 4 5 6 7 8 9 10 11 12; do ${ODD}; sleep 0.2; done`,
  );
  await using follower = await build.follower();
  // A connection needs some 5 kB before the first frame.
  const breaks = Array.from({ length: 8 }, () => 5_000 + Math.floor(Math.random() * 60_000));
  build.door.cuts.push(...breaks);
  build.door.cutNow();
  build.letGo();
  expect(await follower.follow(build.signal)).toMatchObject({ exitCode: 0 });
  await follower.finish();
  expect(build.kept().equals(build.printed()), `cut after ${breaks} bytes`).toBe(true);
  // There is one more for each break, and one that was sent to a dead connection.
  const followed = build.commands.filter((name) => name === 'log follow').length;
  expect(followed).toBeGreaterThan(2);
  expect(followed).toBeLessThanOrEqual(breaks.length + 2);
});

onServer('a restarted agent reads again what it has, and goes on where the spool stands', async () => {
  await using build = await followedBuild(`echo one; ${WAIT_FOR_GO}; echo two`);
  {
    await using first = await build.follower();
    const followed = first.follow(build.signal).catch(() => {});
    await until(() => first.lengthBytes > 0, 'the first line is kept');
    await build.restart();
    await followed;
  }
  const parts: string[] = [];
  await using second = await build.follower({ onBytes: (bytes) => parts.push(bytes.toString()) });
  for await (const { bytes, share } of second.readAgain()) parts.push(`again: ${bytes} ${share}`);
  build.letGo();
  expect(await second.follow(build.signal)).toMatchObject({ exitCode: 0 });
  await second.finish();
  expect(parts).toEqual(['again: one\n 1', 'two\n']);
  expect(build.kept().toString()).toBe('one\ntwo\n');
});

onServer('a log that the build itself shortens is read on once it is longer again', async () => {
  await using build = await followedBuild(
    `printf 0123456789; ${WAIT_FOR_GO}; : >"$TARTBEAT_ROOT/tmp/build.log"; sleep 1; printf abcdefghijklmno`,
  );
  await using follower = await build.follower();
  const followed = follower.follow(build.signal);
  await until(() => follower.lengthBytes === 10, 'the first part is kept');
  build.letGo();
  expect(await followed).toMatchObject({ exitCode: 0 });
  await follower.finish();
  expect(build.kept().toString()).toBe('0123456789klmno');
});

onServer('a command that ends the follower’s own in the VM costs another one, and nothing is lost', async () => {
  await using build = await followedBuild(`echo one; ${WAIT_FOR_GO}; echo two`);
  await using follower = await build.follower();
  const followed = follower.follow(build.signal);
  await until(() => follower.lengthBytes > 0, 'the first line is kept');
  const [group] = await build.processes('log.sh', 'pgid');
  process.kill(-group!, 'SIGKILL');
  build.letGo();
  expect(await followed).toMatchObject({ exitCode: 0 });
  await follower.finish();
  expect(build.kept().toString()).toBe('one\ntwo\n');
  expect(build.commands).toEqual(['log follow', 'log follow']);
});

onServer('nothing is left in the VM when the agent stops, nor when its connection is cut', async () => {
  for (const how of ['stops', 'is cut'] as const) {
    await using build = await followedBuild(`echo quiet; ${WAIT_FOR_GO}`);
    await using follower = await build.follower();
    const followed = follower.follow(build.signal).catch(() => {});
    await until(() => follower.lengthBytes > 0, 'the log is followed');
    expect((await build.processes('log.sh')).length).toBeGreaterThan(0);
    if (how === 'is cut') {
      build.door.close();
      build.door.cutNow();
    } else build.end();
    await until(async () => (await build.processes('log.sh')).length === 0, `the agent ${how}, and nothing is left`);
    build.end();
    await followed;
  }
});

onServer('a command that was lost without an exit code is confirmed before it is over', async () => {
  await using build = await followedBuild('echo begun; kill -KILL 0');
  await using follower = await build.follower({ patienceMs: 1_500 });
  expect(await follower.follow(build.signal)).toMatchObject({ exitCode: null, restarted: false });
  await follower.finish();
  expect(build.kept().toString()).toBe('begun\n');
  expect(build.commands).toEqual(['log follow']);
});

const looksAt = (build: Awaited<ReturnType<typeof followedBuild>>, silenceMs: number, patienceMs = 5_000) => {
  const spool = { readBytes: 0, finished: false };
  const onPolling = () => {};
  const options = { guest: build.guest, key: KEY, freshMs: 10_000, onPolling, signal: build.signal };
  return { spool, looks: new StreamedLooks({ ...options, spool, silenceMs, patienceMs }) };
};
/** Stops the agent's clock, so that no limit ends because the machine is slow. A test then moves it. */
function stopClock() {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
}

/** Hangs where there is a file `hang`: once, or for good. */
const HANGING_WC = `if [ -e "$HOME/hang" ]; then [ -e "$HOME/for good" ] || rm "$HOME/hang"; sleep 600; fi
  exec /usr/bin/wc "$@"`;

onServer('a channel that has fallen silent is replaced, and the connection stays', async () => {
  await using build = await followedBuild(WAIT_FOR_GO);
  build.program('wc', HANGING_WC);
  stopClock();
  const { ssh } = build.vm;
  const { looks } = looksAt(build, 2_000);
  expect(await looks.next()).toMatchObject({ status: { state: 'running' } });
  const hangs = build.letGo('hang');
  const replaced = (async () => {
    while (!build.commands.includes('echo alive')) await looks.next();
  })();
  await until(() => !existsSync(hangs), 'the channel hangs');
  await until(() => {
    vi.advanceTimersByTime(50);
    return build.commands.includes('echo alive');
  }, 'its silence is noticed');
  await replaced;
  expect(await looks.next()).toMatchObject({ status: { state: 'running' } });
  expect(build.commands).toEqual(['log follow', 'echo alive', 'log follow']);
  expect(build.vm.ssh).toBe(ssh);
  looks.close();
});

onServer('a VM that tells nothing for good ends the attempt at the limit, and not at the first silence', async () => {
  await using build = await followedBuild(WAIT_FOR_GO, { guest: { slowLimitMs: 6_000 } });
  build.program('wc', HANGING_WC);
  build.letGo('for good');
  build.letGo('hang');
  stopClock();
  const { looks } = looksAt(build, 500, 60_000);
  let hasEnded = false;
  const ended = looks.next().finally(() => {
    hasEnded = true;
  });
  ended.catch(() => {});
  const timesAsked = (command: string) => build.commands.filter((name) => name === command).length;
  for (let silences = 0; !hasEnded; silences++) {
    await until(() => hasEnded || timesAsked('log follow') > silences, 'the next channel, or the end');
    await until(() => {
      vi.advanceTimersByTime(50);
      return hasEnded || timesAsked('echo alive') > silences;
    }, 'its silence is noticed');
  }
  await expect(ended).rejects.toMatchObject({
    ending: { verdict: 'transfer_failed', step: 'log', message: 'log follow has said nothing for 0.5 s' },
  });
  expect(timesAsked('log follow')).toBeGreaterThan(2);
});

onServer('a guest whose scripts print something else ends the attempt after some tries', async () => {
  await using build = await followedBuild(WAIT_FOR_GO);
  // Each channel deletes the file of the one before, or tries to.
  build.letGo(`.tartbeat/${stateName(KEY)}/follow.0`);
  build.program('rm', 'echo "hello from a profile"');
  const { looks } = looksAt(build, 10_000, 1_000);
  await expect(looks.next()).rejects.toMatchObject({
    ending: { verdict: 'transfer_failed', step: 'log', message: expect.stringContaining('hello from a profile') },
  });
});

/** A VM in which `log follow` prints a status and the head of a frame, and dies. */
const withoutDd = async (command: string) => {
  const build = await followedBuild(command);
  build.program('dd', 'exit 1');
  return build;
};

onServer('a log that no channel brings on is asked for piece by piece, and nothing is lost', async () => {
  await using build = await withoutDd(`${ODD}; ${WAIT_FOR_GO}; ${ODD}; exit 3`);
  const warnings: string[] = [];
  await using follower = await build.follower({ patienceMs: 1_000, onWarning: (message) => warnings.push(message) });
  const followed = follower.follow(build.signal);
  await until(() => follower.lengthBytes > 0, 'the first part is kept');
  const followedFor = build.commands.lastIndexOf('log follow');
  build.letGo();
  expect(await followed).toMatchObject({ exitCode: 3 });
  await follower.finish();
  expect(build.kept().equals(build.printed())).toBe(true);
  expect(warnings).toEqual([
    'the VM does not send the log of the build by itself any more (exit code 1: ); the agent asks for it piece by piece from now on',
  ]);
  expect(build.commands.lastIndexOf('log follow'), 'no channel is opened any more').toBe(followedFor);
});

onServer('a log at which each channel falls silent after its status is asked for piece by piece, too', async () => {
  await using build = await followedBuild(`echo one; ${WAIT_FOR_GO}`);
  build.program('dd', 'sleep 600');
  await until(() => build.printed().length > 0, 'there is something to read');
  const { looks } = looksAt(build, 1_000, 1_000);
  for (let read = ''; read !== 'one\n'; ) {
    const look = await looks.next();
    if ('bytes' in look) read = look.bytes.toString();
  }
  expect(build.commands).toContain('echo alive');
  expect(build.commands.at(-1)).toBe('log read');
});

onServer('a log that cannot be read at all ends the attempt after some tries', async () => {
  await using build = await withoutDd('echo one');
  build.program('tail', 'exit 1');
  await using follower = await build.follower({ patienceMs: 1_000 });
  await expect(follower.follow(build.signal)).rejects.toMatchObject({
    ending: {
      ...{ verdict: 'transfer_failed', step: 'log' },
      message: 'the log in the VM has 4 bytes, and cannot be read after byte 0',
    },
  });
});

onServer('a reader that is slow holds up the command in the VM, and the agent’s memory stays small', async () => {
  const BYTES = 60_000_000;
  await using build = await followedBuild(`head -c ${BYTES} /dev/zero`);
  await until(() => build.printed().length === BYTES, 'the build has printed all');
  const { looks, spool } = looksAt(build, 30_000);
  await looks.next();
  const beforeBytes = process.memoryUsage().arrayBuffers;
  // Each answer comes over the same connection, on which all of the log would have come by now.
  for (let asked = 0; asked < 50; asked++) await build.guest.exec(echoAlive(), { timeoutMs: 30_000 });
  expect(process.memoryUsage().arrayBuffers - beforeBytes).toBeLessThan(16_000_000);
  const hash = createHash('sha256');
  while (spool.readBytes < BYTES) {
    const look = await looks.next();
    if (!('bytes' in look)) continue;
    hash.update(look.bytes);
    spool.readBytes += look.bytes.length;
  }
  looks.close();
  expect(hash.digest('hex')).toBe(createHash('sha256').update(build.printed()).digest('hex'));
});
