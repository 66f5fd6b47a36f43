import { expect, test } from 'vitest';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { until } from '../factories/until.ts';
import { imageRegistry } from '../servers/image-registry.ts';
import { BASE, simulatedMac } from '../tart-simulator/simulated-mac.ts';

/** The agent's Tart over a simulated Mac, and a registry. */
async function macAndRegistry() {
  const registry = await imageRegistry();
  const mac = await simulatedMac();
  return {
    registry,
    mac,
    tart: createTart({ tartPath: TART_SIMULATOR_PATH, tartHome: mac.home }),
    async [Symbol.asyncDispose]() {
      await mac[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
    },
  };
}

test('an image is pushed and pulled by its digest, tells how far it is, and goes again', async () => {
  await using there = await macAndRegistry();
  const { tart, registry, mac } = there;
  const name = `${registry.host}/fleet/mac`;
  expect(await tart.push(BASE, `${name}:1`)).toEqual({ ok: true });
  const reference = `${name}@${registry.digestOf('fleet/mac', '1')}`;
  expect(await tart.digestName(`${name}:1`)).toEqual({ ok: true, reference });
  await tart.removePulled(`${name}:1`);
  const percents: number[] = [];
  expect(await tart.pull(reference, { onPercent: (percent) => percents.push(percent) })).toEqual({ ok: true });
  expect([percents.at(0), percents.at(-1)]).toEqual([0, 100]);
  expect(await mac.names()).toContain(reference);
  expect(await tart.removePulled(reference)).toEqual({ ok: true });
  expect(await mac.names()).toEqual([BASE]);
});

test('a pull ends when it is aborted, and leaves no process', async () => {
  await using there = await macAndRegistry();
  const { tart, registry, mac } = there;
  const reference = `${registry.host}/fleet/mac:1`;
  await tart.push(BASE, reference);
  await tart.removePulled(reference);
  registry.hold();
  const stop = new AbortController();
  const pull = tart.pull(reference, { signal: stop.signal });
  await until(() => registry.counts.atOnce > 0, 'the pull has begun');
  stop.abort();
  expect(await pull).toMatchObject({ ok: false, kind: 'aborted' });
  await mac.nothingLives();
});

test('a pull may take longer than its limit as long as it prints, and ends when it prints nothing', async () => {
  using moving = scriptedTart({ pull: 'for n in 1 2 3 4 5 6; do echo "$n%"; sleep 1; done' }, { pull: 4_000 });
  expect(await moving.tart.pull('host/a:1')).toEqual({ ok: true });
  using standing = scriptedTart({ pull: 'echo 1%; exec sleep 60' }, { pull: 300 });
  expect(await standing.tart.pull('host/a:1')).toMatchObject({
    ok: false,
    kind: 'timeout',
    message: 'tart pull printed nothing for 0.3 s',
  });
});
