/**
 * Follows the log of a build's newest attempt until the log is complete.
 *
 * Invariant: it yields each byte once. If a stream breaks, or ends at its own time limit, it resumes after
 * the last event that arrived. It rejects when no event has arrived for `giveUpAfterMs`.
 */
import { ApiError, failureOf, valueOrThrow } from './answer.ts';
import { readEvents } from './event-stream.ts';
import type { Connection } from './request.ts';
import { pause } from './retry.ts';

/** The longest that one stream may last. */
const STREAM_MAX_MS = 3 * 3_600_000;
const RECONNECT_PAUSE_MS = 500;

export async function* followLog(
  connection: Connection,
  buildId: string,
  { signal, giveUpAfterMs }: { signal: AbortSignal; giveUpAfterMs: number },
): AsyncGenerator<string> {
  const path = `/api/builds/${encodeURIComponent(buildId)}/logs`;
  let lastEventId = '';
  let heardAt = performance.now();
  while (!signal.aborted) {
    const headers = { accept: 'text/event-stream', ...(lastEventId && { 'last-event-id': lastEventId }) };
    const limit = AbortSignal.any([signal, AbortSignal.timeout(STREAM_MAX_MS)]);
    try {
      const response = await connection.open('GET', path, limit, { headers });
      if (!response.ok || !response.body) valueOrThrow(await failureOf(response), `GET ${path}`);
      for await (const { id, event, data } of readEvents(response.body!)) {
        heardAt = performance.now();
        if (event === 'end') return;
        if (id) lastEventId = id;
        yield (JSON.parse(data) as { text: string }).text;
      }
      heardAt = performance.now();
    } catch (error) {
      const isOutage = !(error instanceof ApiError) || error.status >= 500;
      if (signal.aborted || !isOutage || performance.now() - heardAt > giveUpAfterMs) throw error;
    }
    await pause(RECONNECT_PAUSE_MS, signal);
  }
}
