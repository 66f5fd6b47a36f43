/**
 * Takes the heartbeats and reports of an attempt, and the time until which its VM is kept. It also gives the
 * attempt the number of its build.
 */
import { z } from 'zod';
import {
  BuildNumberRequest,
  Heartbeat,
  type HeartbeatAnswer,
  Id,
  type KeptAnswer,
  KeptRequest,
  Report,
  type ReportAnswer,
} from '#contract';
import { beat } from '../attempts/heartbeats.ts';
import { keepVm } from '../attempts/kept-vms.ts';
import { numberOfAttempt } from '../attempts/number-of-attempt.ts';
import { report } from '../attempts/reports.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { iso, isoOrNull } from '../times.ts';
import { drainSoon } from '../upkeep/outbox.ts';
import { IdParam, readJson, valid } from '../validate.ts';
import type { On } from './register.ts';

const BEAT_MAX_BYTES = 16 * 1024;
/** Room for artifacts, evidence and the end of the log. */
const REPORT_MAX_BYTES = 512 * 1024;

const WorkerQuery = z.object({ worker_id: Id });

export function attemptRoutes(on: On, { stores }: Pick<Settings, 'stores'>): void {
  // The heartbeat is a fixed contract (contract/messages/heartbeat.ts).
  on('POST /api/builds/:id/heartbeat')(valid('param', IdParam), valid('query', WorkerQuery), async (c) => {
    const { id } = c.req.valid('param');
    const { caller } = c.var;
    const { worker_id: workerId } = c.req.valid('query');
    if (workerId !== caller.workerId)
      return answerRefusal(c, refusal('forbidden', `worker_id: the credential does not belong to worker ${workerId}`));
    // A body that is no JSON object counts as a beat without figures: a monitor that is alive must never seem
    // silent.
    const read = await readJson(c.req.raw, BEAT_MAX_BYTES);
    if (!read.ok && read.code === 'too_large') return answerRefusal(c, read);
    const json = read.ok && (read.value as object | null);
    const body = Heartbeat.safeParse(json && json.constructor === Object ? json : {});
    if (!body.success) return answerRefusal(c, refusal('invalid_request', 'attempt, source: not as documented'));
    const { answer, attempt, source } = await beat(c.env, id, caller, body.data, Date.now());
    const outcome = answer.ok ? 'accepted' : answer.code;
    console.log(JSON.stringify({ event: 'beat', build: id, attempt, source, outcome }));
    if (!answer.ok) {
      const over = answer.code === 'stale_attempt' || answer.code === 'attempt_ended';
      return answerRefusal(c, answer, over ? { action: 'stop' } : undefined);
    }
    return c.json({
      status: 'ok',
      timestamp: iso(Date.now()),
      action: 'continue',
      nextMs: answer.nextMs,
      vmBeatAt: isoOrNull(answer.vmBeatAt),
    } satisfies HeartbeatAnswer);
  });

  on('POST /api/builds/:id/reports')(valid('param', IdParam), valid('json', Report, REPORT_MAX_BYTES), async (c) => {
    const { id } = c.req.valid('param');
    const reported = await report(c.env, id, c.var.caller, c.req.valid('json'), Date.now());
    const { outcome } = reported;
    if (!reported.ok) return answerRefusal(c, reported, { outcome });
    drainSoon(c.env, id);
    const { status, attempt } = reported.build;
    return c.json({ status, attempt, outcome } satisfies ReportAnswer);
  });

  on('POST /api/builds/:id/kept')(valid('param', IdParam), valid('json', KeptRequest), async (c) => {
    const { id } = c.req.valid('param');
    const kept = await keepVm(c.env, id, c.var.caller, c.req.valid('json'), Date.now());
    if (!kept.ok) return answerRefusal(c, kept);
    return c.json({ keptUntil: isoOrNull(kept.until) } satisfies KeptAnswer);
  });

  on('POST /api/builds/:id/number')(valid('param', IdParam), valid('json', BuildNumberRequest), async (c) => {
    const { id } = c.req.valid('param');
    const given = await numberOfAttempt(c.env, c.var.caller, id, c.req.valid('json'), stores, Date.now());
    return given.ok ? c.json(given.answer) : answerRefusal(c, given);
  });
}
