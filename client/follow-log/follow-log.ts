/**
 * Follows the log of a build, from its newest attempt on, until the build has ended.
 *
 * Invariant: it yields each byte once. If a stream breaks, falls silent, or asks to reconnect, it resumes
 * after the last event that arrived. It rejects when the controller refuses, or when it has listened for
 * `giveUpAfterMs` without any byte. Time in which this process is stopped or the reader is slow does not
 * count.
 */
import { ApiError, failureOf, valueOrThrow } from '../answer.ts';
import { stallTimer } from '../blob-requests.ts';
import type { Connection } from '../request.ts';
import { pause } from '../retry.ts';
import { awakeMs } from '../running-clock.ts';
import { readEvents } from './event-stream.ts';

const RECONNECT_PAUSE_MS = 500;

export interface FollowLogOptions {
  signal: AbortSignal;
  giveUpAfterMs: number;
  /** The controller sends a sign of life every 15 s. A stream that is silent for longer than this is dead. */
  silentMaxMs?: number;
  /** Follows this attempt to its end. Otherwise the newest one, and those after it. */
  attempt?: number | undefined;
  /** Called each time that a stream fails, with the reason and the time of the last byte. */
  onLost?: (message: string, sinceMs: number) => void;
  /** Called with each piece that arrives from the controller. */
  onHeard?: () => void;
}

/** A piece of the log, which may begin and end in the middle of a line. */
export interface LogText {
  attempt: number;
  text: string;
}

export async function* followLog(
  connection: Connection,
  buildId: string,
  { signal, giveUpAfterMs, silentMaxMs = 60_000, attempt, onLost, onHeard }: FollowLogOptions,
): AsyncGenerator<LogText> {
  const path = `/api/builds/${encodeURIComponent(buildId)}/logs${attempt === undefined ? '' : `?attempt=${attempt}`}`;
  let lastEventId = '';
  let heardAtMs = awakeMs();
  while (!signal.aborted) {
    const headers = { accept: 'text/event-stream', ...(lastEventId && { 'last-event-id': lastEventId }) };
    using silence = stallTimer(silentMaxMs, signal);
    const heard = new TransformStream<Uint8Array, Uint8Array>({
      transform(part, controller) {
        heardAtMs = awakeMs();
        onHeard?.();
        silence.touch();
        controller.enqueue(part);
      },
    });
    try {
      const response = await connection.open('GET', path, silence.signal, { headers });
      if (!response.ok || !response.body) valueOrThrow(await failureOf(response), `GET ${path}`);
      for await (const { id, event, data } of readEvents(response.body!.pipeThrough(heard))) {
        if (event === 'end') return;
        if (event === 'reconnect') break;
        if (id) lastEventId = id;
        // A newer controller may send events that this client does not know.
        if (event !== 'message') continue;
        silence.isHeld = true;
        yield JSON.parse(data) as LogText;
        silence.isHeld = false;
        silence.touch();
        heardAtMs = awakeMs();
      }
    } catch (error) {
      const isOutage = !(error instanceof ApiError) || error.status >= 500;
      if (signal.aborted || !isOutage || awakeMs() - heardAtMs > giveUpAfterMs) throw error;
      onLost?.((error as Error).message, heardAtMs);
    }
    await pause(RECONNECT_PAUSE_MS, signal);
  }
}
