import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Frame, FrameError, framesOf, LOG_FRAME_MAX_BYTES } from '../../../worker-agent/guest/log-frames.ts';

const frame = (kind: string, bytes: Buffer) => Buffer.concat([Buffer.from(`${kind} ${bytes.length}\n`), bytes]);

/** The frames of these pieces, and how many pieces were asked for. */
async function read(pieces: readonly Buffer[]) {
  const left = [...pieces];
  const frames: Frame[] = [];
  for await (const one of framesOf(async () => left.shift() ?? null)) frames.push(one);
  return frames;
}

/** Bytes that look like frames, too. */
const someFrames = fc.array(
  fc.record({
    kind: fc.constantFrom<Frame['kind']>('status', 'log'),
    bytes: fc
      .oneof(fc.uint8Array({ maxLength: 60 }), fc.constantFrom('log 3\nabc', 'status 0\n', '\n', '4\n', ''))
      .map((bytes) => Buffer.from(bytes as Uint8Array)),
  }),
  { maxLength: 6 },
);

/** The same bytes, cut at these places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

test('frames come out as they were sent, however the stream was cut into pieces', async () => {
  await fc.assert(
    fc.asyncProperty(someFrames, fc.array(fc.nat(), { maxLength: 8 }), async (sent, places) => {
      const bytes = Buffer.concat(sent.map(({ kind, bytes }) => frame(kind, bytes)));
      expect(await read(cut(bytes, places))).toEqual(sent);
    }),
  );
});

test('a stream that ends in the middle of a frame gives the frames before, and nothing of that one', async () => {
  await fc.assert(
    fc.asyncProperty(someFrames, fc.nat(), async (sent, place) => {
      const parts = sent.map(({ kind, bytes }) => frame(kind, bytes));
      const bytes = Buffer.concat(parts);
      const end = place % (bytes.length + 1);
      let whole = 0;
      for (let at = 0; whole < parts.length && at + parts[whole]!.length <= end; whole++) at += parts[whole]!.length;
      expect(await read([bytes.subarray(0, end)])).toEqual(sent.slice(0, whole));
    }),
  );
});

test('nothing is read before somebody asks for a frame', async () => {
  let reads = 0;
  const frames = framesOf(async () => {
    reads++;
    return frame('log', Buffer.from('a'));
  });
  expect(reads).toBe(0);
  for (const count of [1, 2, 3]) {
    await frames.next();
    expect(reads).toBe(count);
  }
});

test.each([
  'Last login: today\n',
  'log -1\n',
  'log\n',
  'log 1 2\n',
  'bytes 1\n',
  `log ${LOG_FRAME_MAX_BYTES + 1}\n`,
  'status 4097\n',
  'x'.repeat(1_000),
])('%j is no frame', async (text) => {
  const good = frame('log', Buffer.from('a'));
  const frames = framesOf(async () => Buffer.concat([good, Buffer.from(text)]));
  expect((await frames.next()).value).toEqual({ kind: 'log', bytes: Buffer.from('a') });
  await expect(frames.next()).rejects.toThrow(FrameError);
});
