import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { LOG_MAX_BYTES } from '../../../controller/build-log/build-log.ts';
import { bytesOf, sha256Of, unique } from '../factories/rows.ts';

const logs = env.LOGS;
const newLog = () => logs.getByName(`${unique('bld')}/1`);
type Log = ReturnType<typeof newLog>;

const textOf = async (log: Log) => {
  const { bytes } = await log.read(0, LOG_MAX_BYTES);
  return bytes && new TextDecoder().decode(bytes);
};
const rowCount = (log: Log) =>
  runInDurableObject(log, (_, { storage }) => Number(storage.sql.exec('SELECT count(*) AS n FROM chunks').one().n));

/** A sequence of numbers that is the same for the same seed. */
function* randomNumbers(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    yield state / 2 ** 31;
  }
}

test('each byte is stored once, whatever is repeated, overlaps, leaves a gap or is interrupted', async () => {
  for (const seed of [1, 2, 3]) {
    const random = randomNumbers(seed);
    const next = (max: number) => Math.floor(random.next().value * max);
    const log = newLog();
    const all = crypto.getRandomValues(new Uint8Array(60_000));
    for (let length = 0, sends = 0; length < all.byteLength; sends++) {
      const offset = Math.max(0, length + next(4_000) - 2_500);
      const bytes = all.slice(offset, offset + next(5_000));
      const result = await log.append(offset, bytes);
      if (offset > length) expect(result).toEqual({ ok: false, reason: 'gap', length });
      else {
        length = Math.max(length, offset + bytes.byteLength);
        expect(result).toEqual({ ok: true, length, followers: 0 });
      }
      if (sends % 10 === 9) await evictDurableObject(log);
    }
    expect((await log.read(0, all.byteLength)).bytes).toEqual(all);
    for (let i = 0; i < 20; i++) {
      const [from, size] = [next(all.byteLength), next(20_000)];
      expect((await log.read(from, size)).bytes).toEqual(all.slice(from, from + size));
    }
  }
});

test('what was stored first stays: a repetition with other bytes changes nothing', async () => {
  const log = newLog();
  await log.append(0, bytesOf('first'));
  expect(await log.append(0, bytesOf('other, longer'))).toMatchObject({ ok: true, length: 13 });
  expect(await textOf(log)).toBe('first, longer');
});

test('small appends share rows, large ones are split below what a row can hold', async () => {
  const log = newLog();
  for (let i = 0; i < 400; i++) await log.append(i * 100, new Uint8Array(100).fill(65 + (i % 26)));
  expect(await rowCount(log)).toBe(2);
  const large = crypto.getRandomValues(new Uint8Array(65_536));
  const joined = new Uint8Array(2_500_000).map((_, i) => large[i % 65_536]!);
  expect(await log.append(40_000, joined)).toMatchObject({ ok: true, length: 2_540_000 });
  expect(await sha256Of((await log.read(40_000, 2_500_000)).bytes!)).toBe(await sha256Of(joined));
});

test('a log has a largest size', async () => {
  const log = newLog();
  await runInDurableObject(log, (_, { storage }) => {
    storage.sql.exec('INSERT INTO chunks (at, bytes) VALUES (?, ?)', LOG_MAX_BYTES - 3, bytesOf('ab').buffer);
  });
  expect(await log.append(LOG_MAX_BYTES - 1, bytesOf('cd'))).toEqual({
    ok: false,
    reason: 'full',
    length: LOG_MAX_BYTES - 1,
  });
  expect(await log.append(LOG_MAX_BYTES - 1, bytesOf('c'))).toMatchObject({ ok: true, length: LOG_MAX_BYTES });
});

test('an append of nothing tells where the log stands', async () => {
  const log = newLog();
  expect(await log.append(0, new Uint8Array())).toEqual({ ok: true, length: 0, followers: 0 });
  expect(await log.append(7, new Uint8Array())).toEqual({ ok: false, reason: 'gap', length: 0 });
});

test('a log closes when it is what it should be, and takes nothing from then on', async () => {
  const log = newLog();
  await log.append(0, bytesOf('whole'));
  const total = { length: 5, sha256: await sha256Of(bytesOf('whole')) };
  expect(await log.close({ ...total, length: 6 }, false)).toBeNull();
  expect(await log.close({ ...total, sha256: await sha256Of(bytesOf('other')) }, false)).toBeNull();
  expect(await log.close(null, false)).toBeNull();
  expect(await log.close(total, false)).toEqual({ length: 5, complete: true });
  expect(await log.append(5, bytesOf('!'))).toEqual({ ok: false, reason: 'sealed', length: 5 });
  // A later call gets the first answer again.
  expect(await log.close(null, true)).toEqual({ length: 5, complete: true });
});

test('a log that is forced to close is complete only if it matches', async () => {
  const log = newLog();
  await log.append(0, bytesOf('half'));
  expect(await log.close({ length: 8, sha256: await sha256Of(bytesOf('half of it')) }, true)).toEqual({
    length: 4,
    complete: false,
  });
});

test('an emptied log keeps its mark, also when it is evicted', async () => {
  const log = newLog();
  await log.append(0, bytesOf('gone'));
  await log.close(null, true);
  await log.empty();
  await log.empty();
  await evictDurableObject(log);
  expect(await rowCount(log)).toBe(0);
  expect(await log.append(0, bytesOf('again'))).toEqual({ ok: false, reason: 'sealed', length: 4 });
  expect(await log.read(0, 10)).toEqual({ length: 4, bytes: null, closed: { length: 4, complete: false } });
});
