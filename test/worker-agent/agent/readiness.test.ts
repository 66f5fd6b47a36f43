import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { CloneGrowth } from '../../../worker-agent/agent/clone-growth.ts';
import { findObstacle, vmLimitWords } from '../../../worker-agent/agent/obstacles.ts';
import { Readiness } from '../../../worker-agent/agent/readiness.ts';
import { cloneNameOf } from '../../../worker-agent/health-checks/clone-checks.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { standInMac } from '../factories/stand-in-mac.ts';
import { until } from '../factories/until.ts';

const signal = new AbortController().signal;
const vm = (Name: string, State = 'running') => ({ Name, Source: 'local', State, Running: State === 'running' });

function aMac(vms: object[], { console = '501', session = 0, minFreeDiskGb = 0 } = {}) {
  const scripted = scriptedTart({ list: `echo '${JSON.stringify(vms)}'` });
  const stand = standInMac();
  stand.command('stat', `echo ${console}`);
  stand.command('launchctl', `exit ${session}`);
  const growth = new CloneGrowth(scripted.tart);
  const images = { see: () => null };
  const place = { tart: scripted.tart, mac: stand.mac, config: { minFreeDiskGb }, growth, images };
  return {
    scripted,
    find: (ours: string[] = []) => findObstacle(place, ours, signal),
    [Symbol.dispose]() {
      scripted[Symbol.dispose]();
      stand[Symbol.dispose]();
    },
  };
}

test('VMs that others run count against the limit of two, beside those of this agent', async () => {
  using two = aMac([vm('theirs'), vm('base', 'stopped'), vm('more')]);
  expect(await two.find()).toMatch(/allows 2 .* theirs, more/);
  using one = aMac([vm('theirs'), vm('ours')]);
  expect(await one.find(['ours'])).toMatch(/beside those of this agent: theirs/);
  expect(await one.find(['ours', 'theirs'])).toBeNull();
  using free = aMac([vm('theirs'), vm('ours', 'stopped')]);
  expect(await free.find()).toBeNull();
});

test('the clone of a doctor that runs counts before its VM has started, one that a dead doctor left does not', async () => {
  using busy = aMac([vm('theirs'), vm(cloneNameOf(process.pid, 'a'), 'stopped')]);
  expect(await busy.find()).toMatch(/tartbeat-doctor/);
  using left = aMac([vm('theirs'), vm(cloneNameOf(2 ** 30, 'a'), 'stopped')]);
  expect(await left.find()).toBeNull();
});

test('without a session of the account no VM starts; another account in front of it does not matter', async () => {
  using nobody = aMac([], { console: '0', session: 113 });
  expect(await nobody.find()).toMatch(/admin is not logged in/);
  using switched = aMac([], { console: '502', session: 0 });
  expect(await switched.find()).toBeNull();
});

test('a full disk and a Tart that does not answer are in the way', async () => {
  using full = aMac([], { minFreeDiskGb: 10_000_000 });
  expect(await full.find()).toBeNull(); // there is no TART_HOME yet
  writeFileSync(join(full.scripted.dir, 'home'), '');
  expect(await full.find()).toMatch(/10000000.0 GB are needed$/);
  expect(await full.find(['ours'])).toMatch(/20000000.0 GB are needed for another clone/);
  using broken = aMac([]);
  writeFileSync(broken.scripted.tartPath, '#!/bin/sh\necho broken >&2; exit 1\n');
  expect(await broken.find()).toMatch(/broken/);
});

test('a clone is known by what it has grown since it was first seen', async () => {
  using scripted = scriptedTart({});
  const disk = join(scripted.tart.home, 'vms', 'ours', 'disk.img');
  const growth = new CloneGrowth(scripted.tart);
  expect(await growth.of(['ours'])).toEqual([0]); // not cloned yet
  mkdirSync(dirname(disk), { recursive: true });
  writeFileSync(disk, Buffer.alloc(1_000_000, 'x'));
  expect(await growth.of(['ours'])).toEqual([0]);
  writeFileSync(disk, Buffer.alloc(3_000_000, 'x'));
  const [grown] = await growth.of(['ours']);
  expect(grown).toBeGreaterThan(1_900_000);
  await growth.of([]);
  expect(await growth.of(['ours'])).toEqual([0]); // another VM of this name
});

test('a VM that macOS has refused counts for its time, also while a look that began before finds nothing', async () => {
  const slots = { vms: [] as string[], changed: new AbortController().signal };
  const looks: PromiseWithResolvers<null>[] = [];
  const readiness = new Readiness(() => {
    const look = Promise.withResolvers<null>();
    looks.push(look);
    return look.promise;
  }, slots);
  const over = new AbortController();
  const running = readiness.run(over.signal);
  const { changed } = readiness;
  readiness.holdFor(60_000, vmLimitWords('tart run: no'));
  expect([changed.aborted, readiness.isReady]).toEqual([true, false]);
  looks[0]!.resolve(null);
  await new Promise((resolve) => setImmediate(resolve));
  expect(readiness.obstacle).toMatch(
    /^macOS allows 2 .* refused another one \(tart run: no\); the agent tries again within two minutes$/,
  );
  over.abort();
  await running;

  using paused = aReadiness();
  paused.readiness.holdFor(0, 'two VMs');
  expect(paused.readiness.isReady).toBe(false);
  await until(() => paused.readiness.isReady, 'the time is over, and a look finds nothing');
});

/** A readiness whose look comes at once, and finds nothing. */
function aReadiness() {
  const readiness = new Readiness(async () => null, { vms: [], changed: new AbortController().signal });
  const over = new AbortController();
  void readiness.run(over.signal);
  return { readiness, [Symbol.dispose]: () => over.abort() };
}

test('ready is said by a look that knew of all VMs, and a claim never waits for one', async () => {
  let changed = new AbortController();
  const slots = {
    vms: [] as string[],
    get changed() {
      return changed.signal;
    },
  };
  let obstacle: string | null = 'two VMs';
  let answer = Promise.withResolvers<void>();
  const readiness = new Readiness(async () => {
    await answer.promise;
    return obstacle;
  }, slots);
  const over = new AbortController();
  const running = readiness.run(over.signal);
  const change = () => {
    changed.abort();
    changed = new AbortController();
  };
  expect([readiness.isReady, readiness.obstacle]).toEqual([false, null]);
  answer.resolve();
  await until(() => readiness.obstacle === 'two VMs', 'the first look');
  expect(readiness.isReady).toBe(false);
  obstacle = null;
  change();
  await until(() => readiness.isReady, 'a look after a change');
  answer = Promise.withResolvers();
  slots.vms = ['a'];
  change();
  expect(readiness.isReady).toBe(false);
  const { changed: told } = readiness;
  answer.resolve();
  await until(() => told.aborted, 'the change is told');
  expect(readiness.isReady).toBe(true);
  over.abort();
  await Promise.race([running, sleep(5_000).then(() => Promise.reject(new Error('it goes on')))]);
});
