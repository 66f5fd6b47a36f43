/**
 * Watches one build: a Durable Object per build, whose alarm turns silence into a verdict.
 *
 * Invariant: an active attempt has an alarm at or before its earliest deadline, and an ended attempt is never
 * armed again.
 *
 * The object learns of an attempt from `arm`, its beats, `close` and the sweep's `check`. D1 has the status
 * of the build; this object only decides when to ask D1. It reads its record again after each `await`,
 * because another call may have run meanwhile.
 *
 * Owns the KV key `record`, a {@link DeadlineRecord}, and the alarm.
 */
import { DurableObject } from 'cloudflare:workers';
import { agentIntervalMs, beatIntervalMs, type Heartbeat, type Live, type Timeouts } from '#contract';
import { apply } from '../builds/apply.ts';
import { readActive } from '../builds/rows.ts';
import { finishOutbox } from '../builds/writes-without-event.ts';
import { isAlarmLost, isoOrNull } from '../times.ts';
import { type Armed, armed, type DeadlineRecord, judge, nextDeadlineAt, viewDeadlines, withBeat } from './silence.ts';

export type BeatResult =
  | { kind: 'accepted'; nextMs: number; vmBeatAt: number | null }
  | { kind: 'stale_attempt' | 'attempt_ended' | 'not_found' }
  | { kind: 'unavailable' };

/** A claim fails if its arm is older than this by D1's own clock (claims.ts). */
export const ARM_TTL_MS = 30_000;
/**
 * An arm without a claim is forgotten only after this time: ARM_TTL_MS and some seconds in which clocks may
 * differ.
 */
const ORPHAN_AFTER_MS = ARM_TTL_MS + 5_000;
/**
 * The pause before the next try when D1 failed, or did not know the attempt yet. The first one is short,
 * because a verdict falls within 1 s of its deadline. Each later one is twice as long, so that a thousand
 * builds do not flood a D1 that is down.
 */
const RETRY_MIN_MS = 500;
export const RETRY_MAX_MS = 30_000;
/** A try whose end is not known after this time is made again, because its process may have died. */
const TRY_MS = 2_000;

const retryPauseMs = (tries: number) => Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(tries - 1, 16));

export class BuildDeadline extends DurableObject<Env> {
  /**
   * Starts the clocks of `attempt` at `now`, before its claim is committed. Called again for the same
   * attempt, it moves the claim time forward and drops a verdict on the earlier arm, whose claim never came,
   * but only while no beat is stored.
   *
   * @returns the claim time that now counts, or null if the attempt is over or already beats
   */
  async arm(attempt: number, timeouts: Timeouts, now: number): Promise<number | null> {
    const record = this.#load();
    if (record && (record.attempt > attempt || (record.attempt === attempt && record.state === 'ended'))) return null;
    if (record?.state === 'armed' && record.attempt === attempt) {
      if (record.vmBeatAt !== null || record.agentBeatAt !== null) return null;
      const claimedAt = Math.max(record.claimedAt, now);
      await this.#save({ ...record, claimedAt, judging: null });
      return claimedAt;
    }
    await this.#save(armed(attempt, timeouts, now));
    return now;
  }

  /**
   * Stores a sign of life of `attempt`, from the source that the beat names. A refused beat stores nothing.
   */
  async beat(attempt: number, beat: Heartbeat): Promise<BeatResult> {
    let record = this.#load();
    if (!record || record.attempt < attempt) {
      const adopted = await this.#adopt(attempt).catch(() => 'unavailable' as const);
      if (adopted !== 'adopted') return { kind: adopted };
      record = this.#load();
    }
    if (!record || record.attempt > attempt) return { kind: 'stale_attempt' };
    if (record.state === 'ended') return { kind: 'attempt_ended' };
    const now = Date.now();
    const next = withBeat(record, beat, now);
    // Usually the alarm stays as it is, because a beat moves deadlines back and an early alarm books itself
    // anew. A beat that starts a clock may bring an earlier deadline: then the alarm moves too. While a
    // verdict is being written, the alarm is for its next try.
    const dueAt = nextDeadlineAt(next);
    // When the agent can read the log again after a while, its beat may set a deadline that has already
    // passed. Then we set the alarm for now, so that it is not late. Otherwise judge() would think after each
    // such beat that the platform was away.
    if (!next.judging && dueAt < next.alarmAt)
      await this.#save(next, next.alarmAt > now ? Math.max(dueAt, now) : dueAt);
    else if (isAlarmLost(next.alarmAt, now)) await this.#save(next);
    else this.#store(next);
    return { kind: 'accepted', nextMs: this.#intervalMs(next, beat), vmBeatAt: next.vmBeatAt };
  }

  /** Notes that the attempt is over. */
  async close(attempt: number): Promise<void> {
    const record = this.#load();
    if (!record || record.attempt <= attempt) await this.#end(attempt);
  }

  /**
   * Deletes all that is stored, once the build is old. A late beat then asks D1, which knows the end. False
   * while an attempt is armed. The alarm of such an attempt may be lost, so this call runs it, and it asks D1
   * whether the attempt has ended.
   */
  async forget(): Promise<boolean> {
    if (this.#load()?.state === 'armed') await this.alarm();
    if (this.#load()?.state === 'armed') return false;
    await this.ctx.storage.deleteAll();
    return true;
  }

  /**
   * Called by the sweep: repairs the record or the alarm of an active build. An alarm can be lost in two
   * ways: the platform knows none, or it knows one that should have run long ago.
   */
  async check(attempt: number, timeouts: Timeouts, claimedAt: number): Promise<'alive' | 'repaired'> {
    const record = this.#load();
    if (!record || record.attempt < attempt) {
      await this.#save(armed(attempt, timeouts, claimedAt));
      return 'repaired';
    }
    if (record.state === 'ended' || record.attempt > attempt) return 'alive';
    const alarmAt = await this.ctx.storage.getAlarm();
    if (alarmAt === null && nextDeadlineAt(record) === Number.POSITIVE_INFINITY) return 'alive';
    if (alarmAt !== null && !isAlarmLost(alarmAt, Date.now())) return 'alive';
    // This does the work of the lost alarm: it judges and sets the next alarm.
    await this.alarm();
    return 'repaired';
  }

  /** The state of the running attempt as far as this object knows it. Null if none runs. */
  read(): Live | null {
    const record = this.#load();
    if (record?.state !== 'armed') return null;
    return {
      attempt: record.attempt,
      stage: record.stage,
      phase: record.phase,
      progress: record.shown,
      endExpectedAt: isoOrNull(record.endExpectedAt),
      vmBeatAt: isoOrNull(record.vmBeatAt),
      agentBeatAt: isoOrNull(record.agentBeatAt),
      outputGrewAt: isoOrNull(record.outputGrewAt),
      deadlines: viewDeadlines(record),
    };
  }

  /**
   * May run early, late or twice: it compares, acts at most once and books its own next try. It never throws,
   * because the platform gives up an alarm that throws too often.
   */
  override async alarm(): Promise<void> {
    try {
      await this.#judge();
    } catch (error) {
      console.error(JSON.stringify({ event: 'judge_failed', build: this.#buildId, error: String(error) }));
      const record = this.#load();
      if (record?.state === 'armed') await this.#save(record, Date.now() + retryPauseMs(record.judging?.tries ?? 1));
    }
  }

  async #judge(): Promise<void> {
    let record = this.#load();
    if (record?.state !== 'armed') return;
    const { attempt } = record;
    let { judging } = record;
    if (!judging) {
      const found = judge(record, Date.now(), Date.now() - record.alarmAt);
      if (found.kind !== 'verdict') return this.#save(found.record);
      judging = { verdict: found.verdict, dueAt: found.dueAt };
    }
    const tries = (judging.tries ?? 0) + 1;
    // Stored before D1 is called: D1's answer may be lost, and a late beat must not revive an attempt that
    // ended. The alarm continues the work if the process dies below.
    await this.#save({ ...record, judging: { ...judging, tries } }, Date.now() + Math.max(TRY_MS, retryPauseMs(tries)));
    const active = await readActive(this.env, this.#buildId);
    const now = Date.now();
    record = this.#load();
    if (record?.state !== 'armed' || record.attempt !== attempt || !record.judging) return;
    if (!active || active.attempt < attempt) {
      // This is an arm without a claim. Ask again while its claim may still commit, then forget it without
      // ending the attempt.
      const orphanedAt = record.claimedAt + ORPHAN_AFTER_MS;
      if (now < orphanedAt) return this.#save(record, Math.min(orphanedAt, now + retryPauseMs(tries)));
      return this.#end(attempt - 1);
    }
    if (!active.running || active.attempt > attempt) return this.#end(attempt);
    // The attempt still runs, so beats that came meanwhile count. Lateness is judged only before the first
    // try, so it is 0 here.
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

  /**
   * Called for a beat that this object knows no arm for: asks D1 once whether `attempt` runs, and arms itself
   * if so.
   */
  async #adopt(attempt: number): Promise<'adopted' | 'stale_attempt' | 'attempt_ended' | 'not_found'> {
    const active = await readActive(this.env, this.#buildId);
    if (!active) return 'not_found';
    if (active.attempt > attempt) return 'stale_attempt';
    if (active.attempt < attempt || !active.running) return 'attempt_ended';
    const record = this.#load();
    if (!record || record.attempt < attempt) await this.#save(armed(attempt, active.timeouts, active.claimedAt));
    return 'adopted';
  }

  /** Writes that the attempt has ended and removes the alarm, in the same turn. */
  async #end(attempt: number): Promise<void> {
    this.#store({ state: 'ended', attempt });
    await this.ctx.storage.deleteAlarm();
  }

  /** Stores the record and sets its alarm for the earliest deadline, or for `at`. */
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
    if (!name) throw new Error('a BuildDeadline must be opened by the name of its build');
    return name;
  }
}
