import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { freePort } from '../../local/farm/free-port.ts';
import { testWith } from '../set-up/test-with.ts';
import {
  type Answer,
  accept,
  answeringServer,
  half,
  html,
  inTurn,
  json,
  nothing,
  refuse,
} from './factories/answering-server.ts';
import {
  MONITOR,
  PLAIN_MONITOR,
  type RunningScript,
  run,
  SEND_HEARTBEAT,
  SHELLS,
  type Shell,
  start,
  stateFolder,
} from './factories/guest-script.ts';

/** This key is only given on standard input, so no process may show it. */
const KEY = 'tb_vm_secret-of-this-test';
/** This key is given as an argument. */
const ARGUMENT_KEY = 'test-api-key';

/** Waits for a condition. The limit is for a busy machine, and far above the time that a case needs. */
const until = (condition: () => unknown) =>
  vi.waitFor(() => expect(condition()).toBeTruthy(), { timeout: 25_000, interval: 20 });

/** Longer than any answer takes on a busy machine. Only a server that is silent makes a request fail. */
const PATIENT = { TARTBEAT_REQUEST_LIMIT: '20' };

/** A monitor with a state folder of its own against a server that answers as told. */
async function monitoring(shell: Shell, answer: Answer, interval = '0.2', env: NodeJS.Dict<string> = {}) {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await answeringServer(answer));
  const state = stack.use(stateFolder()).path;
  const monitor: RunningScript = stack.use(
    start(
      shell,
      MONITOR,
      [server.url, 'b-1', 'w-1', '-', interval],
      { TARTBEAT_STATE: state, ...PATIENT, ...env },
      `${KEY}\n`,
    ),
  );
  const said = (pattern: RegExp) => monitor.lines().some((line) => pattern.test(line));
  const tell = (...args: string[]) => run(shell, SEND_HEARTBEAT, args, { TARTBEAT_STATE: state });
  const lastBeat = () => server.beats.at(-1)?.body;
  return { server, state, monitor, said, tell, lastBeat, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const holds = (sentence: string, check: () => Promise<void> | void) =>
    declare(`${shell}: ${sentence}`, { concurrent: true }, check);

  holds('prints what the guide prints and keeps to the contract of the heartbeat', async () => {
    await using server = await answeringServer(accept);
    using home = stateFolder();
    const args = [`${server.url}/`, 'test-build-123', 'test-worker-456', ARGUMENT_KEY, '10'];
    await using monitor = start(shell, MONITOR, args, { HOME: home.path, ...PATIENT });
    await until(() => monitor.lines().length >= 3);
    expect(monitor.lines()).toEqual([
      '[VM Monitor] Starting for build test-build-123',
      `[VM Monitor] Sending heartbeats every 10s to ${server.url}`,
      '[VM Monitor] Heartbeat sent (progress: 0%)',
    ]);
    const beat = server.beats[0]!;
    expect(beat.method).toBe('POST');
    expect(beat.url).toBe('/api/builds/test-build-123/heartbeat?worker_id=test-worker-456');
    expect(beat.headers).toMatchObject({ 'content-type': 'application/json', 'x-api-key': 'test-api-key' });
    expect(beat.body).toEqual({ progress: 0, source: 'vm', origin: 'time' });
  });

  holds('names its attempt, and writes its process id where ps can be asked about it', async () => {
    await using it = await monitoring(shell, accept, '0.2', { TARTBEAT_ATTEMPT: '3' });
    await until(() => it.server.beats.length >= 2);
    expect(it.lastBeat()).toMatchObject({ attempt: 3 });
    expect(readFileSync(join(it.state, 'monitor.pid'), 'utf8')).toBe(`${it.monitor.pid}\n`);
  });

  holds('keeps a key that came by standard input out of every command line and environment', async () => {
    await using it = await monitoring(shell, nothing, '30');
    await until(() => it.server.beats.length === 1);
    expect(it.server.beats[0]!.headers['x-api-key']).toBe(KEY);
    expect(it.monitor.family().join('\n')).toMatch(/curl/);
    expect(it.monitor.family().join('\n')).not.toContain(KEY);
    if (!existsSync('/proc/self/environ')) return;
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== String(process.pid))) {
      for (const file of ['cmdline', 'environ']) {
        let text = '';
        try {
          text = readFileSync(`/proc/${pid}/${file}`, 'latin1');
        } catch {
          // The process has ended, or belongs to another user.
        }
        expect(text.includes(KEY), `${file} of process ${pid}`).toBe(false);
      }
    }
  });

  holds('stops when the controller says stop', async () => {
    await using it = await monitoring(shell, inTurn(accept, json(200, { status: 'ok', action: 'stop' })));
    expect(await it.monitor.ended).toBe(3);
    expect(it.server.beats).toHaveLength(2);
    expect(readdirSync(it.state)).toEqual([]);
  });

  for (const [status, code] of [
    [409, 'stale_attempt'],
    [410, 'attempt_ended'],
  ] as const) {
    holds(`stops at the first ${status}`, async () => {
      await using it = await monitoring(shell, refuse(status, code), '30');
      expect(await it.monitor.ended).toBe(4);
      expect(it.server.beats).toHaveLength(1);
      expect(it.said(new RegExp(`HTTP ${status} ${code}\\): Because of ${code}\\.`))).toBe(true);
    });
  }

  for (const [status, code] of [
    [401, 'invalid_key'],
    [403, 'wrong_worker'],
    [404, 'unknown_build'],
  ] as const) {
    holds(`gives up on ${status} only in the controller's own words and only when they last`, async () => {
      await using it = await monitoring(shell, refuse(status, code), '0.2', { TARTBEAT_REFUSAL_SPAN: '0.7' });
      expect(await it.monitor.ended).toBe(5);
      // At 0, 0.2, 0.4, 0.6 and 0.8 s.
      expect(it.server.beats).toHaveLength(5);
      expect(it.said(new RegExp(`Heartbeat refused \\(HTTP ${status} ${code}\\): Because of ${code}\\.`))).toBe(true);
    });
  }

  holds('needs three refusals however long they lasted, and forgets them with an accepted beat', async () => {
    const no = refuse(401, 'invalid_key');
    await using it = await monitoring(shell, inTurn(no, no, accept, no, no, accept, no), '0.2', {
      TARTBEAT_REFUSAL_SPAN: '0',
    });
    expect(await it.monitor.ended).toBe(5);
    expect(it.server.beats).toHaveLength(9);
  });

  // Once is enough for answers that last until the limit. The limit is longer than the next answer takes.
  const waited = { times: 1, env: { TARTBEAT_REQUEST_LIMIT: '4' } };
  const survivable: [string, Answer, RegExp, { times: number; env: NodeJS.Dict<string> }?][] = [
    [
      'a 401 of a captive portal',
      html(401),
      /Heartbeat refused \(HTTP 401\): the answer does not come from the controller/,
    ],
    ['a 403 of a proxy', html(403), /Heartbeat refused \(HTTP 403\)/],
    ['a 404 of a bad deployment', html(404), /Heartbeat refused \(HTTP 404\)/],
    ['a 200 of a captive portal', html(200), /Heartbeat refused \(HTTP 200\)/],
    ['a redirect', html(302), /Heartbeat refused \(HTTP 302\)/],
    ['too many requests', refuse(429, 'rate_limited'), /Heartbeat refused \(HTTP 429 rate_limited\)/],
    ['an error of the controller', refuse(500, 'internal'), /Heartbeat refused \(HTTP 500 internal\)/],
    ['an HTML 502', html(502), /Heartbeat refused \(HTTP 502\)/],
    ['half an answer', half, /Heartbeat failed \(no answer from http:\S+\): \S+/],
    ['no answer at all', nothing, /Heartbeat failed \(no answer from http:\S+\): .*timed out/, waited],
    [
      'an endless answer',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/html' });
        const flood = setInterval(() => response.write('x'.repeat(65_536)), 20);
        response.once('close', () => clearInterval(flood));
      },
      /Heartbeat failed/,
      waited,
    ],
  ];
  for (const [what, answer, line, { times, env } = { times: 4, env: {} }] of survivable) {
    holds(`says what is wrong, and beats again, after ${what}`, async () => {
      const answers = inTurn(...Array.from({ length: times }, () => answer), accept);
      await using it = await monitoring(shell, answers, '0.2', { TARTBEAT_REFUSAL_SPAN: '0', ...env });
      await until(() => it.said(/Heartbeat sent/));
      expect(it.monitor.lines().filter((each) => line.test(each))).toHaveLength(times);
      // Two headings, each failure in one line, then success.
      expect(it.monitor.lines()[2 + times]).toMatch(/Heartbeat sent/);
    });
  }

  holds('says that there is no server, and beats as soon as there is one', async () => {
    using state = stateFolder();
    const port = await freePort();
    const args = [`http://127.0.0.1:${port}`, 'b-1', 'w-1', ARGUMENT_KEY, '0.2'];
    await using monitor = start(shell, MONITOR, args, { TARTBEAT_STATE: state.path, ...PATIENT });
    await until(() => monitor.lines().some((line) => /Heartbeat failed \(no answer from .*onnect/.test(line)));
    await using server = await answeringServer(accept, port);
    await until(() => server.beats.length >= 2);
  });

  holds('takes a controller that is an IPv6 address', async () => {
    using state = stateFolder();
    const args = ['http://[::1]:1', 'b-1', 'w-1', ARGUMENT_KEY, '0.2'];
    await using monitor = start(shell, MONITOR, args, { TARTBEAT_STATE: state.path });
    await until(() =>
      monitor.lines().some((line) => line.includes('Heartbeat failed (no answer from http://[::1]:1): ')),
    );
  });

  holds('repeats a failed beat long before the next one is due', async () => {
    await using it = await monitoring(shell, inTurn(html(502), accept), '300');
    await until(() => it.said(/Heartbeat sent/));
  });

  holds('beats again when something kills the request that hangs and the timers', async () => {
    await using it = await monitoring(shell, inTurn(nothing, accept), '300');
    await until(() => it.server.beats.length === 1 && it.monitor.children('sleep').length === 2);
    for (const pid of [...it.monitor.children('curl'), ...it.monitor.children('sleep')]) process.kill(pid, 'SIGTERM');
    await until(() => it.said(/Heartbeat sent/));
    expect(it.monitor.lines()[2]).toMatch(/Heartbeat failed .*: curl ended with code 143$/);
  });

  holds('keeps its interval however long an answer takes, and estimates progress from time', async () => {
    const [intervalMs, answerMs] = [4_000, 3_000];
    const arrivals: number[] = [];
    const slowly: Answer = (response, index) => {
      arrivals.push(performance.now());
      setTimeout(() => accept(response, index), answerMs);
    };
    const begin = performance.now();
    await using it = await monitoring(shell, slowly, '4');
    // A monitor that counts the interval from the answer never beats this quickly. A right one does, unless
    // this machine holds up all of its beats.
    const isQuick = (arrival: number, index: number) => arrival - arrivals[index - 1]! < intervalMs + answerMs;
    await until(() => arrivals.length >= 4 && arrivals.some(isQuick));
    expect(arrivals[3]! - begin).toBeGreaterThanOrEqual(3 * intervalMs);
    expect(it.server.beats.slice(0, 4).map((beat) => beat.body.progress)).toEqual([0, 2, 4, 5]);
  });

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    for (const [when, answer] of [
      ['while a request hangs', nothing],
      ['between two beats', accept],
    ] as const) {
      holds(`stops at once on ${signal} ${when}, and leaves no process and no file`, async () => {
        // A monitor that waits for the interval or the request does not end within the time of a test.
        await using it = await monitoring(shell, answer, '900', { TARTBEAT_REQUEST_LIMIT: '900' });
        await until(() => (answer === accept ? it.said(/Heartbeat sent/) : it.server.beats.length));
        it.monitor.kill(signal);
        expect(await it.monitor.ended).toBe(0);
        expect(it.server.beats).toHaveLength(1);
        expect(readdirSync(it.state)).toEqual([]);
        await until(() => it.monitor.family().length === 0);
      });
    }
  }

  holds('stops in the same way when its whole process group is told to', async () => {
    await using it = await monitoring(shell, nothing, '900', { TARTBEAT_REQUEST_LIMIT: '900' });
    await until(() => it.server.beats.length);
    process.kill(-it.monitor.pid, 'SIGTERM');
    expect(await it.monitor.ended).toBe(0);
    expect(it.monitor.lines().slice(2)).toEqual(['[VM Monitor] Stopping']);
    await until(() => it.monitor.family().length === 0);
  });

  holds('goes on when nobody reads what it prints any more', async () => {
    await using it = await monitoring(shell, accept);
    await until(() => it.server.beats.length >= 1);
    it.monitor.hangUp();
    const before = it.server.beats.length;
    await until(() => it.server.beats.length >= before + 4);
  });

  holds('goes on when the build deletes its folder', async () => {
    using away = stateFolder();
    await using it = await monitoring(shell, accept);
    await until(() => it.server.beats.length >= 1);
    // The monitor may be making files in it. It makes none under another name.
    renameSync(it.state, join(away.path, 'state'));
    rmSync(join(away.path, 'state'), { recursive: true });
    const before = it.server.beats.length;
    await until(() => it.server.beats.length >= before + 4);
  });

  // Only bash runs a trap between two commands.
  if (shell === 'bash')
    holds('sends its beat also when the build deletes the folder while curl and the judge start', async () => {
      using away = stateFolder();
      const [file, moved] = [join(away.path, 'env.sh'), join(away.path, 'state')];
      // In the pause a child that opens the FIFO by itself begins to wait for the other child.
      const deletion =
        '[ "$BASH_COMMAND" != "request=\\$!" ] || [ -e "$MOVED" ] || { sleep 1; mv "$TARTBEAT_STATE" "$MOVED"; }';
      writeFileSync(file, `set -T; trap '${deletion}' DEBUG\n`);
      await using it = await monitoring(shell, accept, '0.2', { BASH_ENV: file, MOVED: moved });
      await until(() => it.server.beats.length >= 4);
      expect(existsSync(moved)).toBe(true);
      for (const line of it.monitor.lines().slice(2)) expect(line).toMatch(/Heartbeat sent/);
    });

  // Only bash runs a trap between two commands.
  if (shell === 'bash')
    holds('hears the answer also when the build deletes the pipe before a beat', async () => {
      using folder = stateFolder();
      const [file, twice] = [join(folder.path, 'env.sh'), join(folder.path, 'twice')];
      // Before each beat, and the first time also just before it is opened.
      const deletion = `
        deletes() {
          case $BASH_COMMAND in
            look_at_progress) ;;
            printf*' $$ > '*) [ "$(wc -l <'${twice}')" -lt 2 ] || return 0; echo >>'${twice}' ;;
            *) return 0 ;;
          esac
          rm -f "$pipe"
        }
        : >'${twice}'; set -T; trap deletes DEBUG
        `;
      writeFileSync(file, deletion);
      await using it = await monitoring(shell, refuse(410, 'attempt_ended'), '0.2', { BASH_ENV: file });
      expect(await it.monitor.ended).toBe(4);
      expect(it.server.beats).toHaveLength(1);
      expect(it.said(/cannot be opened/)).toBe(true);
      expect(readdirSync(it.state)).toEqual([]);
    });

  holds('sends what send_heartbeat tells it, never less than before, and 99 at most', async () => {
    await using it = await monitoring(shell, accept);
    expect((await it.tell('30', 'Arch "iving" \\ 🚀')).status).toBe(0);
    await until(() => it.lastBeat()?.origin === 'script');
    expect(it.lastBeat()).toMatchObject({ progress: 30, phase: 'Arch "iving" \\ 🚀' });
    await it.tell('10', 'Signing');
    await until(() => it.lastBeat()?.phase === 'Signing');
    expect(it.lastBeat()).toMatchObject({ progress: 30, origin: 'script' });
    await it.tell('100');
    await until(() => it.lastBeat()?.progress === 99);
    expect(it.lastBeat()).not.toHaveProperty('phase');
    const figures = it.server.beats.map((beat) => beat.body.progress as number);
    expect(figures).toEqual(figures.toSorted((a, b) => a - b));
  });

  holds('beats soon after send_heartbeat, without waiting for its interval', async () => {
    await using it = await monitoring(shell, accept, '300');
    await until(() => it.said(/Heartbeat sent/));
    for (const percent of ['40', '41', '42', '43']) await it.tell(percent);
    await until(() => it.lastBeat()?.progress === 43);
    // The monitor sends at most one beat in 5 s. So the four calls made one beat, or two if the 5 s ended
    // during the calls.
    expect(it.server.beats.length).toBeLessThanOrEqual(3);
  });

  const garbage: [string, string | Buffer][] = [
    ['words', 'abc\n'],
    ['nothing', ''],
    ['a figure above 100', '101\n'],
    ['a negative figure', '-5\n'],
    ['an octal figure', '08\n'],
    ['half a line', '30'],
    ['shell', '$(touch /tmp/owned)\n'],
    ['bytes', Buffer.from([0xff, 0x00, 0x33, 0xfe, 0x0a])],
    ['a line without end', '3'.repeat(1_000_000)],
  ];
  holds(`ignores a progress file that holds ${garbage.map(([what]) => what).join(', ')}, or is a folder`, async () => {
    await using it = await monitoring(shell, accept, '0.1');
    const file = join(it.state, 'progress');
    const twoMore = async () => {
      const before = it.server.beats.length;
      await until(() => it.server.beats.length >= before + 2);
    };
    for (const [, content] of garbage) {
      writeFileSync(file, content);
      await twoMore();
    }
    rmSync(file);
    mkdirSync(file);
    await twoMore();
    for (const { body } of it.server.beats) expect(body).toMatchObject({ origin: 'time', source: 'vm' });
    for (const line of it.monitor.lines().slice(2))
      expect(line).toMatch(/^\[VM Monitor] Heartbeat sent \(progress: \d+%\)$/);
  });

  const good = ['http://127.0.0.1:1', 'b-1', 'w-1', ARGUMENT_KEY];
  const wrong: [string, string[], RegExp, NodeJS.Dict<string>?][] = [
    ['no argument', [], /expected 4 or 5 arguments, got 0/],
    ['six arguments', [...good, '30', 'x'], /got 6/],
    ['a controller without scheme', ['builds.example.com', ...good.slice(1)], /CONTROLLER/],
    ['a controller with a query', ['http://h/?x', ...good.slice(1)], /CONTROLLER/],
    ['a controller with a quote', ['http://h/"', ...good.slice(1)], /CONTROLLER/],
    ['a build that climbs', [good[0]!, '..', 'w-1', ARGUMENT_KEY], /BUILD/],
    ['a build with a slash', [good[0]!, 'a/b', 'w-1', ARGUMENT_KEY], /BUILD/],
    ['an empty worker', [good[0]!, 'b-1', '', KEY], /WORKER/],
    ['an empty key', [good[0]!, 'b-1', 'w-1', ''], /KEY is empty/],
    ['no key on standard input', [good[0]!, 'b-1', 'w-1', '-'], /KEY is empty/],
    ['a key with a line end', [good[0]!, 'b-1', 'w-1', `${ARGUMENT_KEY}\nurl = x`], /KEY contains/],
    ...['0', '0.0', '-1', 'abc', '1e3', '30s', '.5', '1.', '1.2.3', '010', '100000', ' '].map(
      (interval): [string, string[], RegExp] => [`interval '${interval}'`, [...good, interval], /INTERVAL/],
    ),
    ['a wrong attempt', good, /TARTBEAT_ATTEMPT/, { TARTBEAT_ATTEMPT: 'one' }],
    ['a wrong span', good, /TARTBEAT_REFUSAL_SPAN/, { TARTBEAT_REFUSAL_SPAN: 'long' }],
    ['a wrong limit', good, /TARTBEAT_REQUEST_LIMIT/, { TARTBEAT_REQUEST_LIMIT: 'long' }],
  ];
  holds('refuses wrong arguments with a usage, 64, and without repeating the key', async () => {
    for (const [what, args, message, env] of wrong) {
      const result = await run(shell, MONITOR, args, { TARTBEAT_STATE: '/nonexistent/state', ...env });
      expect(result.status, what).toBe(64);
      expect(result.stderr, what).toMatch(message);
      expect(result.stderr, what).toContain('usage: vm-monitor.sh CONTROLLER BUILD WORKER KEY [INTERVAL]');
      expect(result.stdout + result.stderr, what).not.toContain(ARGUMENT_KEY);
    }
  });

  holds('says which folder it cannot use', async () => {
    const result = await run(shell, MONITOR, good, { TARTBEAT_STATE: '/dev/null/state' });
    expect(result.status).toBe(73);
    expect(result.stderr).toContain('cannot write into /dev/null/state');
  });

  holds('send_heartbeat refuses figures that are none, takes 45% and 45.7, and breaks no build elsewhere', async () => {
    using state = stateFolder();
    const env = { TARTBEAT_STATE: state.path };
    for (const figure of ['', 'x', '-1', '101', '1e1', '4 5', '..', '5.x'])
      expect((await run(shell, SEND_HEARTBEAT, [figure], env)).status, figure).toBe(64);
    expect((await run(shell, SEND_HEARTBEAT, [], env)).status).toBe(64);
    expect(existsSync(join(state.path, 'progress'))).toBe(false);
    for (const figure of ['45', '45%', '45.7']) {
      expect((await run(shell, SEND_HEARTBEAT, [figure, 'Gym\n', 'run'], env)).status).toBe(0);
      expect(readFileSync(join(state.path, 'progress'), 'utf8')).toBe('45 Gym  run\n');
    }
    expect(readdirSync(state.path)).toEqual(['progress']);
    for (const elsewhere of ['/nonexistent', '/dev/null']) {
      const result = await run(shell, SEND_HEARTBEAT, ['45'], { TARTBEAT_STATE: elsewhere });
      expect(result.status).toBe(0);
      expect(result.stderr).toContain('progress not reported');
    }
  });

  holds('send_heartbeat signals no process but a monitor', async () => {
    using state = stateFolder();
    // A dead monitor has left the id of this process behind. SIGUSR1 would end the process.
    await using bystander = start(shell, '-c', ['echo up; while :; do sleep 1; done'], {});
    await until(() => bystander.lines().length);
    writeFileSync(join(state.path, 'monitor.pid'), `${bystander.pid}\n`);
    expect((await run(shell, SEND_HEARTBEAT, ['45'], { TARTBEAT_STATE: state.path })).status).toBe(0);
    expect(bystander.family().length).toBeGreaterThan(0);
    bystander.kill('SIGTERM');
    expect(await bystander.ended).toBe('SIGTERM');
  });

  holds('the plain loop of curl prints each status and answer, and fails with the first that is not 200', async () => {
    await using server = await answeringServer(inTurn(accept, accept, refuse(410, 'attempt_ended')));
    await using monitor = start(shell, PLAIN_MONITOR, [server.url, 'b-1', 'w-1', ARGUMENT_KEY, '0.1'], {});
    expect(await monitor.ended).toBe(1);
    expect(monitor.lines().map((line) => line.slice(0, 4))).toEqual(['200 ', '200 ', '410 ']);
    expect(server.beats[0]).toMatchObject({
      url: '/api/builds/b-1/heartbeat?worker_id=w-1',
      body: { progress: 5 },
      headers: { 'x-api-key': ARGUMENT_KEY, 'content-type': 'application/json' },
    });
    await using counted = start(shell, PLAIN_MONITOR, [server.url, 'b-1', 'w-1', ARGUMENT_KEY, '0.1', '1'], {});
    expect(await counted.ended).toBe(1);
  });
}
