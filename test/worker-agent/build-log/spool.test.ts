import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LOG_LIVE_BYTES, LogSpool, missingNote } from '../../../worker-agent/build-log/spool.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const SECRET = Buffer.from('a-secret-of-the-build');
const MIB = 1024 * 1024;
const LIMITS = { liveBytes: 2 * MIB, tailBytes: MIB };

function spooling() {
  const dir = temporaryDir();
  const path = join(dir.path, 'build.log');
  const open = (limits: object = {}) => LogSpool.open({ path, needles: [SECRET], ...limits });
  return {
    path,
    open,
    file: () => readFileSync(path),
    pair: () => JSON.parse(readFileSync(`${path}.json`, 'utf8')),
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}

test('what is kept is masked, and every other byte as it was', async () => {
  using one = spooling();
  await using spool = await one.open();
  const odd = Buffer.concat([Buffer.from('\x1b[31m50%\r'), Buffer.from([0xff, 0x00, 0xc3]), Buffer.alloc(11_000, 'x')]);
  await spool.append(Buffer.concat([odd, SECRET.subarray(0, 9)]));
  expect([spool.lengthBytes, spool.readBytes]).toEqual([odd.length, odd.length + 9]);
  await spool.append(Buffer.concat([SECRET.subarray(9), Buffer.from('\n')]));
  expect(one.file()).toEqual(Buffer.concat([odd, Buffer.from('***\n')]));
  expect(one.pair()).toEqual({
    rawBytes: odd.length + SECRET.length + 1,
    maskedBytes: odd.length + 4,
    finished: false,
  });
});

test('what was held back comes out at the end', async () => {
  using one = spooling();
  await using spool = await one.open();
  await spool.append(Buffer.from('> a-secret'));
  expect(one.file().toString()).toBe('> ');
  await spool.finish();
  await spool.finish();
  await spool.append(Buffer.from('late'));
  expect([one.file().toString(), spool.lengthBytes]).toEqual(['> a-secret', 10]);
});

test('after a crash at any point it reads on in the middle of a secret, and nothing is there twice', async () => {
  using one = spooling();
  const raw = Buffer.concat([Buffer.from('before '), SECRET, Buffer.from(' between '), SECRET, Buffer.from(' after')]);
  for (let step = 3; ; ) {
    await using spool = await one.open();
    const from = spool.readBytes;
    if (from === raw.length) {
      await spool.finish();
      break;
    }
    await spool.append(raw.subarray(from, from + step));
    step = step > 30 ? 3 : step + 4;
    // These bytes were written, but not counted, when the power failed.
    writeFileSync(one.path, 'torn', { flag: 'a' });
  }
  expect(one.file().toString()).toBe('before *** between *** after');
});

test('of a very long log the beginning and the end are kept, and one line says what is missing', async () => {
  using one = spooling();
  const raw = randomBytes(15 * MIB + 12_345);
  for (let at = 0; at < raw.length; ) {
    // A restarted agent reads again the bytes that were held back. That happens when a read ends with the
    // first byte of a secret.
    await using spool = await one.open(LIMITS);
    at = spool.readBytes;
    for (let read = 0; read < 4 && at < raw.length; read++) {
      await spool.append(raw.subarray(at, at + 700_001));
      at = spool.readBytes;
    }
    expect(spool.lengthBytes).toBeLessThanOrEqual(LIMITS.liveBytes);
  }
  await using spool = await one.open(LIMITS);
  await spool.append(raw.subarray(spool.readBytes));
  await spool.finish();
  const missing = raw.length - LIMITS.liveBytes - LIMITS.tailBytes;
  const note = Buffer.from(missingNote(missing, LIMITS.liveBytes));
  const expected = Buffer.concat([raw.subarray(0, LIMITS.liveBytes), note, raw.subarray(-LIMITS.tailBytes)]);
  expect(one.file().equals(expected)).toBe(true);
  expect(note.toString()).toMatch(/^\n\[tartbeat\] \d+ bytes of the log are missing here, because [^\n]+\n$/);
  expect(spool.lengthBytes).toBe(expected.length);
});

test('a log a little longer than the first part is whole', async () => {
  using one = spooling();
  const raw = randomBytes(LIMITS.liveBytes + LIMITS.tailBytes);
  await using spool = await one.open(LIMITS);
  await spool.append(raw);
  await spool.finish();
  expect(one.file().equals(raw)).toBe(true);
});

test('a crash while the end is written counts nothing of it: a secret that goes on after it stays hidden', async () => {
  using one = spooling();
  {
    await using spool = await one.open(LIMITS);
    await spool.append(Buffer.concat([randomBytes(3 * MIB), Buffer.from('> a-secret')]));
    const counted = one.pair();
    await spool.finish();
    // As if the power had failed before the last write.
    writeFileSync(`${one.path}.json`, JSON.stringify(counted));
  }
  await using spool = await one.open(LIMITS);
  const { rawBytes } = one.pair();
  expect([spool.finished, spool.readBytes]).toEqual([false, rawBytes]);
  await spool.append(Buffer.concat([Buffer.from('a-secret'), Buffer.from('-of-the-build\n')]));
  await spool.finish();
  expect(one.file().subarray(-6).toString()).toBe('> ***\n');
});

test('what a former run has left of a very long log is ended without its build', async () => {
  using one = spooling();
  // Ends with a byte that begins no secret, so that nothing is held back.
  const raw = Buffer.concat([randomBytes(LOG_LIVE_BYTES + 100), Buffer.from('\n')]);
  {
    await using spool = await one.open();
    await spool.append(raw);
  }
  expect(one.file().length).toBe(LOG_LIVE_BYTES);
  await LogSpool.finishLeft(one.path);
  await LogSpool.finishLeft(one.path);
  expect(one.file().equals(raw)).toBe(true);
  using none = spooling();
  await LogSpool.finishLeft(none.path);
  expect(existsSync(none.path)).toBe(false);
});

test('one that was finished stays so', async () => {
  using one = spooling();
  {
    await using spool = await one.open(LIMITS);
    await spool.append(randomBytes(5 * MIB));
    await spool.finish();
  }
  const before = one.file();
  await using spool = await one.open(LIMITS);
  expect([spool.finished, spool.lengthBytes, one.file().equals(before)]).toEqual([true, before.length, true]);
});
