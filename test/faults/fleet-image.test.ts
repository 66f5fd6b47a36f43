/** Tests one image for a fleet: one Mac publishes it, and all fetch it in turns, beside builds. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { expect, test, vi } from 'vitest';
import { type Farm, startFarm } from '../../local/farm/farm.ts';
import { loadConfig } from '../../worker-agent/config.ts';
import { makeBaseImage } from '../../worker-agent/images/base-image.ts';
import { Images } from '../../worker-agent/images/images.ts';
import { readPublicImages } from '../../worker-agent/images/public-images.ts';
import { publishImage } from '../../worker-agent/images/publish.ts';
import { PROVISIONED, quickVmImage } from '../worker-agent/factories/quick-vm-image.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { imageRegistry } from '../worker-agent/servers/image-registry.ts';

/** One of them publishes, so that at least one of the others waits for its turn. */
const MACS = Number(process.env.FLEET_MACS ?? 4);
const AT_ONCE = 2;
/** The Macs share the processors of one machine. */
const PATIENCE = { withinMs: 400_000 };
const POOL = 'default';
const IMAGE = 'default';
const PAIR = { digest: readPublicImages()[0]!.reference.split('@')[1], provisioned: PROVISIONED };

/** Makes the image of the first Mac anew and publishes it. Resolves with its reference by digest. */
async function publish(farm: Farm, to: string): Promise<string> {
  const { configPath, tart } = farm.mac(0);
  const config = await loadConfig(configPath);
  const said: string[] = [];
  const images = Images.open({ configPath, config, tart, emit: () => {} });
  const shared = {
    ...{ config, configPath, images, tart },
    roomOf: async () => ({ totalBytes: 1e12, freeBytes: 9e11 }),
    say: (line: string) => void said.push(line),
    onLine: (line: string) => void said.push(line),
    signal: new AbortController().signal,
  };
  expect(await makeBaseImage({ ...shared, more: ['--force'], yes: true, ask: null }), said.join('\n')).toBe(0);
  expect(await publishImage({ ...shared, more: [], to }), said.join('\n')).toBe(0);
  const published = said.findLast((line) => line.startsWith('Published: '));
  return published!.slice('Published: '.length);
}

/** Kills the first agent that provisions, and starts it again. */
async function restartAtProvisioning(farm: Farm): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<number>();
  using _listening = farm.listen((event, index) => {
    if (event.type === 'image_fetch' && event.state === 'provisioning') resolve(index);
  });
  const index = await promise;
  await farm.killAgent('SIGKILL', index);
  await farm.startAgent(index);
}

async function until<T>(ask: () => Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  for (const giveUpAt = performance.now() + PATIENCE.withinMs; ; await sleep(150)) {
    const answer = await ask();
    if (holds(answer)) return answer;
    if (performance.now() > giveUpAt) throw new Error(`it did not come to that: ${JSON.stringify(answer, null, 2)}`);
  }
}

test('Macs fetch the image that one has published, two at a time, beside builds and over a restart of an agent', async () => {
  using dir = temporaryDir();
  for (const [name, value] of Object.entries(quickVmImage(dir.path).environment)) vi.stubEnv(name, value);
  await using registry = await imageRegistry();
  await using farm = await startFarm({
    ...{ workers: MACS, startAgents: false },
    config: { registries: [`${registry.host}/`], minFreeDiskGb: 0 },
  });
  const reference = await publish(farm, `${registry.host}/fleet/mac`);
  expect(reference).toMatch(new RegExp(`^${registry.host}/fleet/mac@sha256:[0-9a-f]{64}$`));
  const repaired = 'expo-build-vm-base-snapshot-2';
  const made = ['expo-build-vm', repaired, readPublicImages()[0]!.reference];
  expect((await farm.vms(0)).map(({ name }) => name)).toEqual(made);

  await Promise.all(farm.macs.map((mac) => mac.startAgent()));
  // No download ends before a build has been built.
  registry.hold();
  registry.counts.mostAtOnce = 0;
  await farm.admin.setPoolImage(POOL, IMAGE, { reference, atOnce: AT_ONCE });
  const workers = async () => (await farm.admin.poolImages(POOL))[0]!.workers;
  const withTurn = (all: Awaited<ReturnType<typeof workers>>) =>
    all.filter(({ state }) => ['fetching', 'provisioning', 'checking'].includes(state)).length;
  const held = await until(workers, (all) => withTurn(all) === AT_ONCE && registry.counts.atOnce === AT_ONCE);
  expect(held.filter(({ state }) => state === 'waiting').length).toBeLessThanOrEqual(MACS - AT_ONCE);

  const project = join(import.meta.dirname, '../../local/sample-project');
  const submit = (command: string) => farm.submit({ platform: 'ios', command }, project);
  // Each build waits for all others, and a Mac has one slot. So every Mac builds, also those that fetch.
  const gate = join(dir.path, 'gate');
  const together = `until [ -e '${gate}' ]; do sleep 0.1; done; echo built`;
  const builds = await Promise.all(Array.from({ length: MACS }, () => submit(together)));
  await Promise.all(builds.map(({ id }) => farm.waitFor(id, ({ status }) => status === 'building', PATIENCE)));
  writeFileSync(gate, '');
  const ended = await Promise.all(
    builds.map(({ id }) => farm.waitFor(id, ({ endedAt }) => endedAt !== null, PATIENCE)),
  );
  expect(ended.map(({ status }) => status)).toEqual(builds.map(() => 'succeeded'));
  expect(new Set(ended.map(({ attempts }) => attempts[0]!.workerId)).size).toBe(MACS);
  expect(registry.counts.atOnce).toBe(AT_ONCE);

  const restarted = restartAtProvisioning(farm);
  registry.release();
  await until(
    async () => {
      const all = await workers();
      expect(withTurn(all)).toBeLessThanOrEqual(AT_ONCE);
      expect(all.filter(({ state }) => state === 'failed')).toEqual([]);
      return all;
    },
    (all) => all.filter(({ state }) => state === 'done').length === MACS,
  );
  await restarted;
  expect(registry.counts.mostAtOnce).toBeLessThanOrEqual(AT_ONCE);
  for (const { id } of await workers())
    expect((await farm.admin.worker(id)).images).toEqual(
      ['ios', 'android'].map((platform) => ({ name: IMAGE, platform, isDefault: true, ...PAIR })),
    );

  const last = await submit('echo built');
  const { attempts } = await farm.waitFor(last.id, ({ endedAt }) => endedAt !== null, PATIENCE);
  expect(attempts.at(-1)).toMatchObject({ image: { name: IMAGE, ...PAIR } });
  // The image from before is kept. Nothing else of the fetch, of the publication and of the builds is left.
  // The Mac that has published the image has fetched nothing.
  const fetched = `expo-build-vm-base-${reference.slice(-64, -52)}`;
  for (const [index, { tart }] of farm.macs.entries()) {
    const left = [...(index === 0 ? ['expo-build-vm', repaired] : [fetched]), 'expo-build-vm-base-snapshot'];
    await until(
      async () => {
        const listed = await tart.list();
        return listed.ok ? listed.vms.filter(({ source }) => source === 'local').map(({ name }) => name) : [];
      },
      (names) => isDeepStrictEqual(names.toSorted(), left.toSorted()),
    );
  }
});
