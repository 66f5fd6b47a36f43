/** Takes the log of a running attempt, and answers people who read or follow it. */
import { z } from 'zod';
import { LOG_APPEND_MAX_BYTES, LOG_COMPLETE_HEADER, LOG_LENGTH_HEADER, type LogAppended } from '#contract';
import { appendLog } from '../build-log/append.ts';
import { followLog } from '../build-log/follow.ts';
import { asBytes, asEvents } from '../build-log/follow-formats.ts';
import { openLog, streamLog, tailOffset } from '../build-log/read.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { AttemptNumber, IdParam, readBody, valid, wholeNumber } from '../validate.ts';
import type { On } from './register.ts';

const Offset = wholeNumber(0, Number.MAX_SAFE_INTEGER);
const TAIL_LINES_MAX = 10_000;

const AppendQuery = z.object({ attempt: AttemptNumber, offset: Offset });
const ReadQuery = z
  .object({
    attempt: AttemptNumber.optional(),
    offset: Offset.optional(),
    limit: wholeNumber(1, Number.MAX_SAFE_INTEGER).optional(),
    /** The last lines instead of an offset. */
    tail: wholeNumber(0, TAIL_LINES_MAX).optional(),
    follow: z.enum(['0', '1']).optional(),
  })
  .refine(({ offset, tail }) => offset === undefined || tail === undefined, {
    path: ['tail'],
    message: 'give either offset or tail',
  });

export function logRoutes(on: On, settings: Settings): void {
  on('PUT /api/builds/:id/logs')(valid('param', IdParam), valid('query', AppendQuery), async (c) => {
    const bytes = await readBody(c.req.raw, LOG_APPEND_MAX_BYTES);
    if (!bytes) return answerRefusal(c, refusal('too_large', `one append holds at most ${LOG_APPEND_MAX_BYTES} bytes`));
    const where = { buildId: c.req.valid('param').id, ...c.req.valid('query') };
    const appended = await appendLog(c.env, c.var.caller, where, bytes, Date.now());
    if (!appended.ok) return answerRefusal(c, appended);
    return c.json({ length: appended.length, followers: appended.followers } satisfies LogAppended);
  });

  /**
   * Answers the bytes as they are. With `follow=1` or `Accept: text/event-stream` the answer is a stream of
   * events, which `Last-Event-ID` resumes. With `follow=1` and `Accept: text/plain` it is a stream of the
   * bytes (build-log/follow-formats.ts). Both continue with the next attempt unless `attempt` is given.
   */
  on('GET /api/builds/:id/logs')(valid('query', ReadQuery), async (c) => {
    const { attempt, offset, limit, tail, follow } = c.req.valid('query');
    const takes = (type: string) => accepts(c.req.header('Accept'), type);
    const follows = follow === '1' || (follow === undefined && takes('text/event-stream'));
    const resumed = follows ? parseEventId(c.req.header('Last-Event-ID')) : null;
    const log = await openLog(c.env, c.var.build.id, resumed?.attempt ?? attempt);
    if (!log.ok) return answerRefusal(c, log);

    const from = resumed?.offset ?? offset ?? (tail === undefined ? 0 : await tailOffset(c.env, log, tail));
    if (from > log.length)
      return answerRefusal(c, {
        ...refusal('wrong_offset', `offset: the log of attempt ${log.attempt} has ${log.length} bytes`),
        expectedOffset: log.length,
      });
    const headers = {
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      [LOG_LENGTH_HEADER]: String(log.length),
      [LOG_COMPLETE_HEADER]: String(log.complete),
    };
    if (follows) {
      const asItIs = takes('text/plain') && !takes('text/event-stream');
      const format = asItIs ? asBytes() : asEvents({ attempt: log.attempt, offset: from });
      const follower = { log, offset: from, onlyThisAttempt: attempt !== undefined, key: c.var.key, format };
      const body = followLog(c.env, { ...follower, times: settings.follow });
      return c.body(body, 200, { ...headers, 'Content-Type': format.contentType });
    }

    const to = Math.min(log.length, from + (limit ?? log.length));
    const body = streamLog(c.env, log, from, to).pipeThrough(new FixedLengthStream(to - from));
    return c.body(body, 200, { ...headers, 'Content-Type': 'text/plain; charset=utf-8' });
  });
}

const accepts = (header: string | undefined, type: string) =>
  (header ?? '').split(',').some((part) => part.split(';')[0]!.trim().toLowerCase() === type);

/** `ATTEMPT:OFFSET`, as the events carry it. */
function parseEventId(id: string | undefined): { attempt: number; offset: number } | null {
  const [, attempt, offset] = /^(\d{1,4}):(\d{1,15})$/.exec(id ?? '') ?? [];
  return attempt === undefined || attempt === '0' ? null : { attempt: Number(attempt), offset: Number(offset) };
}
