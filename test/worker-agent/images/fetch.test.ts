import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { WantedImage } from '#contract';
import { parseConfig } from '../../../worker-agent/config.ts';
import type { HostEvent } from '../../../worker-agent/events.ts';
import { Fetching, type FetchingOptions } from '../../../worker-agent/images/fetch.ts';
import { Images } from '../../../worker-agent/images/images.ts';
import { ImagesFile } from '../../../worker-agent/images/images-file.ts';
import { firstState } from '../../../worker-agent/images/roll-out.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const NAME = `ghcr.io/acme/builder@sha256:${'a'.repeat(64)}`;
const wanted = (more: Partial<WantedImage> = {}): WantedImage => ({
  ...{ name: 'default', reference: NAME, mayFetch: true },
  ...more,
});

function aMac(scripts: Record<string, string> = {}, options: Partial<FetchingOptions> = {}) {
  const dir = temporaryDir();
  const scripted = scriptedTart({ list: "echo '[]'", fqn: `echo "$2"`, delete: ':', ...scripts });
  const configPath = join(dir.path, 'config.json');
  const settings = {
    ...{ vmName: 'mac', vmUser: 'admin', vmSshKey: '/key', controllerUrl: 'http://c', apiKey: 'tb_worker_abcdefgh' },
    registries: ['ghcr.io/acme/'],
  };
  const config = parseConfig(JSON.stringify(settings), configPath);
  const events: HostEvent[] = [];
  const emit = (event: unknown) => void events.push(event as HostEvent);
  const images = Images.open({ configPath, config, tart: scripted.tart, emit });
  const stateDir = join(dir.path, 'state');
  const fetching = new Fetching({
    ...{ config, stateDir, images, tart: scripted.tart, emit },
    roomOf: async () => ({ totalBytes: 500e9, freeBytes: 300e9 }),
    growthBytes: async () => 0,
    holdSlot: () => Promise.reject(new Error('there is no slot')),
    ...options,
  });
  const over = new AbortController();
  const running = fetching.run(over.signal);
  const stop = async () => {
    over.abort();
    await running;
  };
  return {
    ...{ scripted, stateDir, fetching, events, stop },
    transfers: () => scripted.calls().filter((call) => /^(pull|delete)/.test(call)),
    async [Symbol.asyncDispose]() {
      await stop();
      scripted[Symbol.dispose]();
      dir[Symbol.dispose]();
    },
  };
}

test('nothing is fetched without the turn, from another registry, for an image that the Mac does not have', async () => {
  await using mac = aMac();
  const other = NAME.replace('acme', 'else');
  mac.fetching.want([wanted({ mayFetch: false }), wanted({ reference: other }), wanted({ name: 'xcode-28' })]);
  expect(mac.fetching.fetches).toEqual([
    { name: 'default', reference: NAME, state: 'waiting', percent: null, message: '' },
    {
      ...{ name: 'default', reference: other, state: 'failed', percent: null },
      message: '"registries" in the config of this Mac does not name ghcr.io/else/',
    },
    {
      ...{ name: 'xcode-28', reference: NAME, state: 'failed', percent: null },
      message: 'the config of this Mac has no image xcode-28',
    },
  ]);
  await mac.stop();
  expect(mac.transfers()).toEqual([]);
});

test('an image that is there is done, and one that was switched back is not fetched again', async () => {
  await using mac = aMac();
  const state = firstState('mac-base-snapshot');
  const file = new ImagesFile(mac.stateDir);
  file.change(() => ({ default: { ...state, current: { ...state.current, reference: NAME } } }));
  mac.fetching.want([wanted()]);
  expect(mac.fetching.fetches[0]).toMatchObject({ state: 'done' });
  const switchedBack = { vm: 'mac-base-aaa', reference: NAME, at: '2026-11-29T00:00:00Z', why: 'b_1, b_2' };
  file.change(() => ({ default: { ...state, switchedBack } }));
  expect(mac.fetching.fetches[0]).toMatchObject({
    state: 'failed',
    message: 'this Mac has switched it back: b_1, b_2',
  });
});

test('a disk without room for both images is said before the download', async () => {
  await using mac = aMac(
    {},
    { roomOf: async () => ({ totalBytes: 256e9, freeBytes: 20e9 }), growthBytes: async () => 15e9 },
  );
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toBe(
    '28 GB must be free to fetch it beside the present image, and 20 GB are',
  );
  expect(mac.transfers()).toEqual([]);
});

test('the percentage is told while it is pulled, and the end of the agent ends the pull', async () => {
  await using mac = aMac({ pull: 'echo pulling disk; echo 0%; echo 42%; sleep 600 & wait' });
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.percent === 42, '42 %');
  expect(mac.fetching.fetches[0]).toMatchObject({ state: 'fetching' });
  await mac.stop();
  expect(mac.fetching.fetches[0]).toMatchObject({ state: 'waiting' });
});

test('what has failed is not tried again at once, though it is still the turn of this Mac', async () => {
  await using mac = aMac({ pull: 'echo "Error: unauthorized" >&2; exit 1' });
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toContain('unauthorized');
  mac.fetching.want([wanted({ mayFetch: false })]);
  mac.fetching.want([wanted()]);
  const second = NAME.replace('builder', 'other');
  mac.fetching.want([wanted(), wanted({ reference: second })]);
  await until(() => mac.fetching.fetches[1]?.state === 'failed', 'the other one has failed too');
  expect(mac.transfers()).toEqual([`pull ${NAME}`, `pull ${second}`]);
  expect(
    mac.events.filter(({ type }) => type === 'image_fetch').map((event) => 'state' in event && event.state),
  ).toEqual(['fetching', 'failed', 'fetching', 'failed']);
});

test('a registry that gives another image than the one that was asked for is not believed', async () => {
  const given = NAME.replaceAll('aaaa', 'bbbb');
  await using mac = aMac({ pull: 'echo 100%', fqn: `echo ${given}` });
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toBe(`the registry gave another image than was asked for: ${given}`);
  expect(mac.transfers()).toEqual([`pull ${NAME}`, `delete ${NAME}`]);
});

test('a registry on this Mac is asked over http', async () => {
  using scripted = scriptedTart({ pull: 'echo 100%', push: 'echo "$CI $TART_NO_AUTO_PRUNE" >"$HOME_DIR/environment"' });
  await scripted.tart.pull('127.0.0.1:5000/builder:1');
  await scripted.tart.push('mac', 'localhost/builder:1');
  await scripted.tart.pull('127.0.0.1.example.com/builder:1');
  expect(scripted.calls()).toEqual([
    'pull 127.0.0.1:5000/builder:1 --insecure',
    'push mac localhost/builder:1 --populate-cache --insecure',
    'pull 127.0.0.1.example.com/builder:1',
  ]);
  expect(readFileSync(join(scripted.dir, 'environment'), 'utf8')).toBe('1 1\n');
});
