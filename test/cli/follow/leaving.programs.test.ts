/** Stops `expo-build watch`, and takes the controller or the key away while it runs. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cancelBuilds } from '../../../cli/follow/cancel-builds.ts';
import { Contact } from '../../../cli/follow/contact.ts';
import { followBuild } from '../../../cli/follow/follow-build.ts';
import type { View } from '../../../cli/follow/views/events.ts';
import { whenWritable } from '../../../cli/follow/views/output.ts';
import { BuildsClient } from '../../../client/builds-client.ts';
import { Connection } from '../../../client/request.ts';
import { until } from '../../worker-agent/factories/until.ts';
import { faultyProxy } from '../../worker-agent/servers/faulty-proxy.ts';
import { cleanEnv, EXPO_BUILD, jsonLinesOf } from '../factories/expo-build.ts';
import { type Feeding, startFeeding } from '../factories/fed-builds.ts';
import { start } from '../factories/started.ts';

let farm: Feeding;
beforeAll(async () => {
  farm = await startFeeding();
});
afterAll(() => farm?.[Symbol.asyncDispose]());

const runningBuild = () => farm.runningBuild('begun\n');

/** Asks for the state once, and again only when the log says so. */
const followed = (buildId: string) => ({
  ...{ client: farm.api, buildId },
  contact: new Contact({ awayAfterMs: 60_000, say: () => {} }),
  times: { pollMs: 3_600_000, lastBytesMs: 10_000, giveUpAfterMs: 60_000 },
  ...{ onLog: () => {}, onSeen: () => {} },
});

test('the state is asked for as soon as the log begins, however seldom it is asked for otherwise', async () => {
  const { id, claims } = await farm.queuedBuild();
  const shown: string[] = [];
  const view: View = {
    show: (event) => shown.push(event.type === 'build' ? event.build.status : event.type),
    ready: async () => {},
    [Symbol.dispose]: () => {},
  };
  const following = followBuild({ ...followed(id), view, signal: AbortSignal.timeout(60_000) });
  await until(() => shown.includes('queued'), 'the first state', 30_000);
  const attempt = await claims();
  await attempt.starts();
  await attempt.prints('begun\n');
  await until(() => shown.includes('building'), 'the state of the attempt that prints', 30_000);
  await attempt.succeeds();
  expect(await following).toMatchObject({ status: 'succeeded' });
});

test.each(['SIGINT', 'SIGTERM'] as const)('%s without a terminal cancels the build', async (name) => {
  const { id } = await runningBuild();
  using watch = start(['watch', id, '--json'], { env: farm.env() });
  await watch.shows('begun');
  watch.signal(name);
  expect(await watch.ended).toBe(3);
  expect(watch.stderr()).toContain(`${id} is cancelled`);
  expect(jsonLinesOf({ code: 3, stdout: watch.stdout(), stderr: '' }).at(-1)).toMatchObject({
    type: 'end',
    exitCode: 3,
  });
  expect(await farm.api.build(id)).toMatchObject({ status: 'cancelled' });
});

test('of several builds one that has just ended and whose answer gets lost does not keep the others going', async () => {
  const [ended, runs] = [await runningBuild(), await runningBuild()];
  await ended.succeeds();
  const { EXPO_BUILD_URL, EXPO_BUILD_KEY: key } = farm.env();
  await using proxy = await faultyProxy(EXPO_BUILD_URL);
  proxy.fault = ({ method, count }) => (method === 'GET' && count === 1 ? 'lose answer' : undefined);
  const client = new BuildsClient(new Connection({ url: proxy.url, key }));
  expect(await cancelBuilds(client, [ended.id, runs.id])).toBe(3);
  expect(proxy.requests.filter((one) => one === `GET /api/builds/${ended.id}`)).toHaveLength(2);
  expect(await farm.api.build(runs.id)).toMatchObject({ status: 'cancelled' });
});

test('with --detach the build goes on', async () => {
  const { id } = await runningBuild();
  using watch = start(['watch', id, '--detach'], { env: farm.env() });
  await watch.shows('begun');
  watch.signal('SIGTERM');
  expect(await watch.ended).toBe(130);
  expect(watch.stderr()).toContain(`expo-build watch ${id}`);
  expect(await farm.api.build(id)).toMatchObject({ status: 'building' });
});

test.each(['watch', 'logs -f', 'logs -f --raw'])(
  'when the reader of `%s` ends, the command ends too and the build goes on',
  async (command) => {
    const build = await runningBuild();
    const program = `'${process.execPath}' '${EXPO_BUILD}' ${command} ${build.id}`;
    const text = `${program} | head -n 1; echo "code \${PIPESTATUS[0]}"`;
    const shell = execFile('bash', ['-c', text], { env: { ...cleanEnv(), ...farm.env() } });
    let shown = '';
    shell.stdout?.on('data', (part) => (shown += part));
    const ended = once(shell, 'close');
    await until(() => shown.includes('\n'), 'it prints a line', 30_000);
    // The command notices that its reader has ended only when it writes.
    const printsMore = () => build.prints('more\n').then(() => shell.exitCode !== null);
    await until(printsMore, 'it ends', 30_000, 500);
    await ended;
    expect(shown).toContain('code 130');
    expect(await farm.api.build(build.id)).toMatchObject({ status: 'building' });
  },
);

test('whoever stops it does not wait for a reader that stands still', async () => {
  const { id } = await runningBuild();
  const output = new Writable({ highWaterMark: 1, write: () => {} }); // nothing is ever taken from it
  const stop = new AbortController();
  const still = Promise.withResolvers<void>();
  const view: View = {
    show: (event) => void (event.type === 'log' && output.write(event.text)),
    ready: (signal) => {
      still.resolve();
      return whenWritable(output, signal);
    },
    [Symbol.dispose]: () => {},
  };
  const following = followBuild({ ...followed(id), view, signal: stop.signal });
  await still.promise;
  stop.abort(new Error('stopped'));
  await expect(following).rejects.toThrow('stopped');
});

test('a controller that goes away is said once, and the log goes on without a gap', async () => {
  const build = await runningBuild();
  using watch = start(['watch', build.id], { env: farm.env() });
  await watch.shows('begun');
  const { comesBack } = await farm.stopController();
  await watch.shows('The controller is not reached');
  await comesBack();
  await watch.shows('The controller answers again');
  await build.prints('and ended\n');
  await build.succeeds();
  expect(await watch.ended).toBe(0);
  expect(watch.stdout().match(/is not reached|answers again|begun|and ended/g)).toEqual([
    ...['begun', 'is not reached', 'answers again', 'and ended'],
  ]);
});

test('a key that is revoked in mid-build ends the following with a sentence and exit code 2', async () => {
  const build = await runningBuild();
  const key = await farm.newKey();
  using watch = start(['watch', build.id], { env: farm.env(key.secret) });
  await watch.shows('begun');
  expect((await key.revoke()).status).toBe(200);
  expect(await watch.ended).toBe(2);
  expect(watch.stderr()).toMatch(/does not accept the key.*Run `expo-build login` with another key/);
});

test('--fail-fast leaves at the first known error, and the build goes on', async () => {
  const build = await runningBuild();
  await build.prints('[!] Unable to find a specification for `Foo`\n');
  using watch = start(['watch', build.id, '--fail-fast'], { env: farm.env() });
  expect(await watch.ended).toBe(1);
  expect(watch.stdout()).toContain('The pod Foo is not known');
  expect(watch.stdout()).toContain(`expo-build watch ${build.id}`);
  expect(watch.stdout()).toContain(`expo-build cancel ${build.id}`);
  expect(await farm.api.build(build.id)).toMatchObject({ status: 'building' });
});
