/**
 * One Durable Object per build: when silence becomes a verdict. It owns one stored record and one alarm, and learns
 * from `arm`, beats and `close` alone. What a build is, D1 says; this object only says when to ask.
 *
 * Invariants: an active attempt has an alarm at or before its earliest deadline; an ended attempt is never armed again;
 * after each `await` the stored record is read again, because another call may have run meanwhile.
 *
 * Storage: KV key `record`, a {@link DeadlineRecord}.
 */
import { DurableObject } from 'cloudflare:workers';
import { agentIntervalMs, beatIntervalMs, type Heartbeat, type Live, type Timeouts } from '#contract';
import { apply, finishOutbox, readActive } from '../builds/apply.ts';
import {
  type Armed,
  armed,
  type DeadlineRecord,
  judge,
  nextDeadlineAt,
  viewDeadlines,
  withBeat,
} from './deadline-arithmetic.ts';

export type BeatResult =
  | { kind: 'accepted'; nextMs: number; vmBeatAt: number | null }
  | { kind: 'stale_attempt' | 'attempt_ended' | 'not_found' }
  | { kind: 'unavailable' };

/** A claim whose arm is older than this is dropped by the claim itself (claims.ts), in D1's own time. */
export const ARM_TTL_MS = 30_000;
/** Past the claim's limit with some slack for clocks: only then may an arm without a claim be forgotten. */
const ORPHAN_AFTER_MS = ARM_TTL_MS + 5_000;
/** D1 refused or failed: the next try. Short, because the promise is a verdict within a second of its deadline. */
const RETRY_MS = 500;

export class BuildDeadline extends DurableObject<Env> {
  /**
   * Starts the clocks of `attempt` at `now`, before its claim is committed. For the same attempt it only moves the claim
   * time forward, and only while no beat is stored.
   *
   * @returns the claim time now in force, or null if the attempt is over or already beating
   */
  async arm(attempt: number, timeouts: Timeouts, now: number): Promise<number | null> {
    const record = this.#load();
    if (record && (record.attempt > attempt || (record.attempt === attempt && record.state === 'ended'))) return null;
    if (record?.state === 'armed' && record.attempt === attempt) {
      if (record.vmBeatAt !== null || record.agentBeatAt !== null) return null;
      const claimedAt = Math.max(record.claimedAt, now);
      await this.#save({ ...record, claimedAt });
      return claimedAt;
    }
    await this.#save(armed(attempt, timeouts, now));
    return now;
  }

  /** A sign of life for `attempt`, from the source that the beat names. Refused ones store nothing. */
  async beat(attempt: number, beat: Heartbeat): Promise<BeatResult> {
    let record = this.#load();
    if (!record || record.attempt < attempt) {
      const adopted = await this.#adopt(attempt).catch(() => 'unavailable' as const);
      if (adopted !== 'adopted') return { kind: adopted };
      record = this.#load();
    }
    if (!record || record.attempt > attempt) return { kind: 'stale_attempt' };
    if (record.state === 'ended') return { kind: 'attempt_ended' };
    const next = withBeat(record, beat, Date.now());
    // Usually the alarm is left alone: it is set for the earliest deadline known when it was armed, and a beat only moves
    // deadlines back. The exception is a beat that starts a clock, or shortens the wait.
    if (nextDeadlineAt(next) < next.alarmAt) await this.#save(next);
    else this.#store(next);
    return { kind: 'accepted', nextMs: this.#intervalMs(next, beat), vmBeatAt: next.vmBeatAt };
  }

  /** The attempt is over, whoever said so. */
  async close(attempt: number): Promise<void> {
    const record = this.#load();
    if (!record || record.attempt <= attempt) await this.#end(attempt);
  }

  /** The sweep asks: an active build must have a live alarm. Repairs what is missing. */
  async check(attempt: number, timeouts: Timeouts, claimedAt: number): Promise<'alive' | 'repaired'> {
    const record = this.#load();
    if (!record || record.attempt < attempt) {
      await this.#save(armed(attempt, timeouts, claimedAt));
      return 'repaired';
    }
    if (record.state === 'ended' || record.attempt > attempt) return 'alive';
    if ((await this.ctx.storage.getAlarm()) !== null || nextDeadlineAt(record) === Number.POSITIVE_INFINITY)
      return 'alive';
    await this.#save(record);
    return 'repaired';
  }

  /** What is known of the attempt that runs; null if none does. */
  read(): Live | null {
    const record = this.#load();
    if (record?.state !== 'armed') return null;
    const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
    return {
      attempt: record.attempt,
      stage: record.stage,
      phase: record.phase,
      progress: record.shown,
      endExpectedAt: iso(record.endExpectedAt),
      vmBeatAt: iso(record.vmBeatAt),
      agentBeatAt: iso(record.agentBeatAt),
      outputGrewAt: iso(record.outputGrewAt),
      deadlines: viewDeadlines(record),
    };
  }

  /** Early, late or twice: compares, acts at most once, books its own next try. Never throws, or the platform would give up. */
  override async alarm(): Promise<void> {
    try {
      await this.#judge();
    } catch (error) {
      console.error(JSON.stringify({ event: 'judge_failed', build: this.#buildId, error: String(error) }));
      if (this.#load()?.state === 'armed') await this.ctx.storage.setAlarm(Date.now() + RETRY_MS);
    }
  }

  async #judge(): Promise<void> {
    let record = this.#load();
    if (record?.state !== 'armed') return;
    const { attempt } = record;
    if (!record.judging) {
      const found = judge(record, Date.now(), Date.now() - record.alarmAt);
      if (found.kind !== 'verdict') return this.#save(found.record);
      record = { ...record, judging: { verdict: found.verdict, dueAt: found.dueAt } };
      // Stored before D1 is called: if the verdict commits and its reply is lost, a late beat must not revive the attempt.
      this.#store(record);
      // Should the process die in here, the alarm that was booked goes on.
      await this.ctx.storage.setAlarm(Date.now() + RETRY_MS * 4);
    }
    const active = await readActive(this.env, this.#buildId);
    const now = Date.now();
    record = this.#load();
    if (record?.state !== 'armed' || record.attempt !== attempt || !record.judging) return;
    if (!active || active.attempt < attempt) {
      // An arm without a claim. While its claim may still commit, wait; then forget it without ending the attempt.
      if (now < record.claimedAt + ORPHAN_AFTER_MS)
        return this.#save({ ...record, judging: null }, record.claimedAt + ORPHAN_AFTER_MS);
      return this.#end(attempt - 1);
    }
    if (!active.running || active.attempt > attempt) return this.#end(attempt);
    // The attempt still runs, so beats that came meanwhile count. Not late: the alarm was, or was not, the first time.
    const { dueAt } = record.judging;
    const again = judge(record, now, 0);
    if (again.kind !== 'verdict') return this.#save({ ...again.record, judging: null });
    const latenessMs = now - Math.min(dueAt, again.dueAt);
    await apply(
      this.env,
      this.#buildId,
      { type: 'fail', attempt, failure: { verdict: again.verdict, latenessMs } },
      now,
    );
    record = this.#load();
    if (record?.state !== 'armed' || record.attempt !== attempt) return;
    await this.#end(attempt);
    await finishOutbox(this.env, 'close_deadline', this.#buildId, attempt);
  }

  /** An empty or outdated object that is beaten for `attempt` asks D1 once whether that attempt runs. */
  async #adopt(attempt: number): Promise<'adopted' | 'stale_attempt' | 'attempt_ended' | 'not_found'> {
    const active = await readActive(this.env, this.#buildId);
    if (!active) return 'not_found';
    if (active.attempt > attempt) return 'stale_attempt';
    if (active.attempt < attempt || !active.running) return 'attempt_ended';
    const record = this.#load();
    if (!record || record.attempt < attempt) await this.#save(armed(attempt, active.timeouts, active.claimedAt));
    return 'adopted';
  }

  /** Ended is written, and the alarm removed, in the same turn. */
  async #end(attempt: number): Promise<void> {
    this.#store({ state: 'ended', attempt });
    await this.ctx.storage.deleteAlarm();
  }

  /** Stores the record with its alarm, set for the earliest deadline (or for `at`). */
  async #save(record: Armed, at = nextDeadlineAt(record)): Promise<void> {
    this.#store({ ...record, alarmAt: at });
    if (at === Number.POSITIVE_INFINITY) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(at);
  }

  #store(record: DeadlineRecord): void {
    this.ctx.storage.kv.put('record', record);
  }

  #load(): DeadlineRecord | undefined {
    return this.ctx.storage.kv.get<DeadlineRecord>('record');
  }

  #intervalMs({ timeouts }: Armed, { source }: Heartbeat): number {
    return source === 'agent' ? agentIntervalMs(timeouts) : beatIntervalMs(timeouts);
  }

  get #buildId(): string {
    const { name } = this.ctx.id;
    if (!name) throw new Error('a deadline is found by the name of its build');
    return name;
  }
}
