import { expect, test } from 'vitest';
import { readEvents } from '../../client/follow-log/event-stream.ts';

async function eventsOf(...parts: string[]) {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  });
  return Array.fromAsync(readEvents(body));
}

test('events are read however the connection cuts them', async () => {
  const text = 'retry: 1000\n\nid: 1:5\ndata: {"a":1}\n\n: still here\n\nevent: end\ndata: {}\n\n';
  const events = [
    { id: '1:5', event: 'message', data: '{"a":1}' },
    { id: '', event: 'end', data: '{}' },
  ];
  expect(await eventsOf(text)).toEqual(events);
  expect(await eventsOf(...text)).toEqual(events);
});

test('an event that was cut off by the end is no event', async () => {
  expect(await eventsOf('data: whole\n\ndata: ha')).toEqual([{ id: '', event: 'message', data: 'whole' }]);
});
