/**
 * Brings one submission to its store: a Durable Object per submission, whose alarm runs one step of the store
 * at a time (step-run.ts).
 *
 * Invariant: the record is stored before each step and after it. So a crash, a deployment or a lost answer
 * repeats one step and nothing else. A change is stored here before it is written to D1, and is written again
 * until D1 has it. A decided end never changes.
 *
 * D1 says what a submission is; this object knows how far it has come. The key of the store is opened from D1
 * for each run, and is never stored here. Upload addresses and sessions are sealed (step-data.ts), because
 * anybody who has one can upload.
 *
 * Owns the KV keys `record`, an {@link UploadState}, and `cancel`, a {@link Wish}, and the alarm.
 */
import { DurableObject } from 'cloudflare:workers';
import { STORE_ADDRESSES, type Step, type StoreAddresses, type StoreSteps, SUBREQUESTS_MAX } from '../stores/step.ts';
import { openStoreKey } from '../stores/store-keys.ts';
import { countingSubrequests, countSubrequest } from '../subrequests.ts';
import { isAlarmLost } from '../times.ts';
import { STORES, type Stores } from './all-stores.ts';
import { writeChange } from './changes.ts';
import { createAfterSuccess } from './create.ts';
import { openData } from './step-data.ts';
import { cleanUpStore, kindOf, runStep } from './step-run.ts';
import { readSubmitted, type Submitted, whyNotAtAll, whyNotToSend } from './submitted.ts';
import { findFirst } from './turns.ts';
import {
  after,
  anew,
  beginning,
  begunOnceMore,
  begunState,
  changeOf,
  endedAs,
  endedElsewhere,
  endedLate,
  failedAs,
  isCancellable,
  isFinalState,
  type Known,
  lateAt,
  later,
  pauseMs,
  type UploadState,
} from './upload-state.ts';

/** The process may die during a run. An alarm this much later then continues the submission. */
const GUARD_MS = 10_000;
/** A cancellation waits this long for the run that is under way. */
const CANCEL_WAIT_MS = 20_000;
/** How often a submission asks whether it is its turn. */
const TURN_PAUSE_MS = 30_000;
/** The number of statements that ask whether a key still has a right. */
const RIGHT_STATEMENTS = 4;

/** Somebody's request to cancel. It has its own KV key, so that no run that is under way overwrites it. */
interface Wish {
  says: string;
  /** Cancel even if the store has the app already. */
  always: boolean;
}

export type Cancelled = 'cancelled' | 'ended' | 'too_late' | 'not_found';

/** The input of one run of the alarm. */
interface Run {
  state: UploadState;
  /** The step of `state`. */
  step: Step<never>;
  store: StoreSteps<never>;
  submitted: Submitted;
  known: Known;
}

export class StoreUpload extends DurableObject<Env> {
  protected stores: Stores = STORES;
  protected addresses: StoreAddresses = STORE_ADDRESSES;

  #running: Promise<void> | null = null;
  #stop = new AbortController();

  /** Begins the submission. Its row must exist. A second call changes nothing. */
  async begin(): Promise<void> {
    if (this.#load()) return;
    const submitted = await this.#counted(() => this.#read());
    if (!submitted || isFinalState(submitted.submission.state) || this.#load()) return;
    await this.#save(this.#begun(submitted));
  }

  /**
   * Makes the submission that a build has asked for, under the name of this object, and begins it. False if
   * the caller must ask again.
   */
  async submitBuild(buildId: string): Promise<boolean> {
    if (!(await createAfterSuccess(this.env, buildId, Date.now()))) return false;
    await this.begin();
    return true;
  }

  /**
   * Cancels the submission. `too_late`: the store has the app, or is just getting it.
   *
   * @param always whether it ends even then. The controller then does nothing more for it
   * @throws if that is not decided yet. The request is stored, and the caller may ask again
   */
  async cancel(says: string, always = false): Promise<Cancelled> {
    if (this.#load()?.ended) return 'ended';
    const submitted = await this.#counted(() => this.#read());
    if (!submitted) return 'not_found';
    if (isFinalState(submitted.submission.state)) return 'ended';
    const now = this.#load() ?? this.#begun(submitted);
    if (now.ended) return 'ended';
    const step = this.#stepsOf(submitted).steps[now.step];
    const stops = !step || isCancellable(now, step);
    if (!always && !stops) return 'too_late';
    this.ctx.storage.kv.put('cancel', { says, always } satisfies Wish);
    await this.#save({ ...now, alarmAt: Date.now() });
    // A step that may give the app to the store goes on, so that we know whether the store has it.
    if (stops) this.#stop.abort();
    if (this.#running) await untilDone(CANCEL_WAIT_MS, this.#running);
    if (!this.#running && this.#wish()) await this.alarm();
    const then = await this.#counted(() => this.#read());
    if (then?.submission.state === 'cancelled') return 'cancelled';
    if (!then || isFinalState(then.submission.state)) return 'ended';
    if (this.#wish()) throw new Error('the cancellation is not decided yet');
    return 'too_late';
  }

  /**
   * Called by the sweep for a submission that has not ended: repairs the record or the alarm. The platform
   * may have lost the alarm, or may have failed to run it in time.
   */
  async check(): Promise<'alive' | 'repaired'> {
    const state = this.#load();
    if (!state) {
      await this.begin();
      return 'repaired';
    }
    if (this.#running) return 'alive';
    const alarmAt = await this.ctx.storage.getAlarm();
    if (alarmAt !== null && !isAlarmLost(alarmAt, Date.now())) return 'alive';
    // The row has not ended. So if the record has an end, that end was not written to D1.
    await this.alarm();
    return 'repaired';
  }

  /** Deletes all that this object stores, once the row is removed. False while the row is still there. */
  async forget(): Promise<boolean> {
    if (this.#load() && (await this.#read())) return false;
    this.#stop.abort();
    await this.ctx.storage.deleteAll();
    return true;
  }

  /**
   * May run early, late or twice. It never throws, because the platform gives up an alarm that throws too
   * often.
   */
  override async alarm(): Promise<void> {
    try {
      if (this.#running) return await this.ctx.storage.setAlarm(Date.now() + GUARD_MS);
      this.#running = this.#counted(() => this.#work()).finally(() => {
        this.#running = null;
      });
      await this.#running;
    } catch (error) {
      console.error(JSON.stringify({ event: 'submission_failed', submission: this.#id, error: kindOf(error) }));
      const state = this.#load();
      if (!state) return;
      const halts = state.halts + 1;
      await this.#save({ ...state, halts, alarmAt: Date.now() + pauseMs(halts) });
    }
  }

  async #work(): Promise<void> {
    // Before any await, so that a cancellation from here on stops this run and not the last one.
    this.#stop = new AbortController();
    const before = this.#load();
    if (!before || (before.pending && !(await this.#write(before)))) return;
    const state = this.#load();
    if (!state) return;
    const submitted = await this.#read();
    if (!submitted) return this.#forgetAll();
    const isOver = isFinalState(submitted.submission.state);
    if (state.ended && !isOver) return this.#decide(endedElsewhere(state));
    if (state.ended) return this.#cleanUp(state, submitted);
    if (isOver) return this.#decide({ ...state, ended: { cleanUp: 'due' } });
    const store = this.#stepsOf(submitted);
    const known = this.#known(submitted);
    const step = store.steps[state.step];
    if (!step) return this.#decide(endedAs(state, 'failed', { reason: 'internal' }, known));
    const run = { state, step, store, submitted, known };
    if (await this.#isCancelled(run)) return;
    if (await this.#isRefused(run)) return;
    const rowState = await this.#announce(run);
    if (rowState === null) return;
    const announced = { ...run, known: { ...known, rowState } };
    if (step.takesTurns && (await this.#waitsForTurn(announced))) return;
    await this.#runStep(announced);
  }

  /** Ends the submission if somebody has asked for it in time. Forgets the wish if it came too late. */
  async #isCancelled({ state, step, known }: Run): Promise<boolean> {
    const wish = this.#wish();
    if (!wish) return false;
    const stops = isCancellable(state, step);
    if (!stops && !wish.always) {
      this.ctx.storage.kv.delete('cancel');
      return false;
    }
    const says = stops ? wish.says : `${wish.says} The store may have the app already.`;
    await this.#decide(endedAs(state, 'cancelled', { says }, known));
    return true;
  }

  /**
   * Ends the step if it may not go on. At the beginning and before the first byte this checks right, store
   * key and artifact, and otherwise only store key and project.
   */
  async #isRefused({ state, step, store, submitted, known }: Run): Promise<boolean> {
    const begins = state.step === store.first && state.tries === 0 && state.uploadBeganAt === null;
    const asksForAll = begins || isFirstToSend(state, step);
    if (asksForAll) countSubrequest(RIGHT_STATEMENTS);
    const why = asksForAll ? await whyNotToSend(this.env, submitted, known.now) : whyNotAtAll(submitted);
    if (why) await this.#decide(failedAs(state, step, why, known));
    return why !== null;
  }

  /** Writes the state of this step and the version of the store key. Null if the row has another state. */
  async #announce({ state, step, submitted: { submission, storeKey } }: Run): Promise<Known['rowState'] | null> {
    const to = later(step.state, submission.state);
    const { version } = storeKey!;
    if (to === submission.state && version === submission.storeKeyVersion) return to;
    const says = to === submission.state ? null : beginning(to);
    if ((await this.#tell({ ...changeOf(state, to, says), storeKeyVersion: version })) === to) return to;
    await this.#save({ ...state, alarmAt: Date.now() });
    return null;
  }

  /** Waits for the next run if another submission of the app is first. */
  async #waitsForTurn({ state, store, submitted: { submission }, known }: Run): Promise<boolean> {
    countSubrequest();
    const first = await findFirst(this.env, submission.store, submission.appId);
    if (first === null || first.id === this.#id) return false;
    const isOwn = first.projectId === submission.projectId;
    const which = isOwn ? `submission ${first.id}` : 'a submission of another project';
    const says = `Waits for ${which}, which brings the same app to the store.`;
    const data = { plain: this.#load()?.plain ?? {}, secret: {} };
    // The time of the step, and its tries, count from its turn on.
    const rested = { ...state, stepBeganAt: known.now };
    const waits = after(rested, store, { kind: 'wait', afterMs: TURN_PAUSE_MS, data, says }, known);
    await this.#decide({ ...waits, tries: 0 });
    return true;
  }

  /** Stores that the step begins, runs it, and stores what follows from its result. */
  async #runStep({ state: before, step, store, submitted, known }: Run): Promise<void> {
    const begun = begunOnceMore(before);
    if (!begun) return this.#decide(failedAs(before, step, { reason: 'internal' }, known));
    if (before.begun > 2 && known.now >= lateAt(before, step, known))
      return this.#decide(endedLate(before, step, known));
    const state = {
      ...begun,
      ...(isFirstToSend(before, step) && { uploadBeganAt: known.now }),
      ...(step.state === 'processing' && { processingBeganAt: before.processingBeganAt ?? known.now }),
    };
    const pause = before.begun > 0 ? pauseMs(state.begun) : 0;
    await this.#save({ ...state, alarmAt: Date.now() + Math.max(GUARD_MS, pause) });

    const key = await openStoreKey(this.env, submitted.storeKey!);
    if (!key.ok) {
      if (key.code === 'inputs_key_missing')
        return this.#decide(after(state, store, { kind: 'retry', why: key.message }, known));
      return this.#decide(failedAs(state, step, { reason: 'key_gone', storeWords: key.message }, known));
    }
    const data = await openData(this.env, this.#id, state);
    if (!data) return this.#decide(anew(state, store.first, Date.now()));
    // Somebody has asked to cancel it meanwhile. The next run decides that before the step.
    if (this.#wish()) return this.#save({ ...before, alarmAt: Date.now() });
    const given = { ...state, isGiven: !step.cancellable };
    this.#store(given);

    const { outcome, secret } = await this.#guarded(() =>
      runStep(this.env, step, {
        ...{ submitted, state: given, data, key: key.key, addresses: this.addresses },
        ...{ lateAt: lateAt(given, step, known), stop: this.#stop },
      }),
    );
    const then = this.#load();
    if (!then) return;
    const sealed = secret === undefined ? then : { ...then, secret };
    await this.#decide(after(sealed, store, outcome, { ...known, now: Date.now() }));
  }

  /** Sets the guard anew while `work` runs, so that its alarm comes soon after the process has died. */
  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    const guard = setInterval(() => this.ctx.storage.setAlarm(Date.now() + GUARD_MS), GUARD_MS / 2);
    try {
      return await work();
    } finally {
      clearInterval(guard);
    }
  }

  /** Removes, once, all that a failed or cancelled submission has left in the store. Then forgets it. */
  async #cleanUp(state: UploadState, submitted: Submitted): Promise<void> {
    if (state.ended?.cleanUp === 'due') {
      // Stored first, so that the clean-up is tried only once, even if it fails.
      await this.#save({ ...state, ended: { cleanUp: 'none' }, alarmAt: Date.now() + GUARD_MS });
      try {
        const key = submitted.storeKey && (await openStoreKey(this.env, submitted.storeKey));
        const data = await openData(this.env, this.#id, state);
        const given = { submitted, state, addresses: this.addresses };
        if (key?.ok && data) await cleanUpStore(this.env, this.#stepsOf(submitted), { ...given, data, key: key.key });
      } catch (error) {
        console.warn(JSON.stringify({ event: 'clean_up_failed', submission: this.#id, error: kindOf(error) }));
      }
    }
    await this.#forgetStore(state);
  }

  /** Stores the decision, then writes it to D1. */
  async #decide(next: UploadState): Promise<void> {
    if (next.ended) this.ctx.storage.kv.delete('cancel');
    // Somebody may have asked to cancel it meanwhile. The next run decides that before its step.
    const step = this.#wish() ? { ...next, alarmAt: Date.now() } : next;
    await this.#save(step);
    if (step.pending && !(await this.#write(step))) return;
    const written = this.#load();
    if (written?.ended?.cleanUp === 'none') await this.#forgetStore(written);
    else if (written?.ended) await this.#save({ ...written, alarmAt: Date.now() });
  }

  /** Keeps the record of an end, without the data of the store, so that no repetition begins anew. */
  async #forgetStore(state: UploadState): Promise<void> {
    this.#store({ ...state, plain: {}, secret: null, pending: null, ended: { cleanUp: 'none' } });
    await this.ctx.storage.deleteAlarm();
  }

  /** Writes the stored change to D1. False if the row was deleted. Then there is nothing more to do. */
  async #write(state: UploadState): Promise<boolean> {
    const change = state.pending!;
    const now = await this.#tell(change);
    if (now === null) {
      await this.#forgetAll();
      return false;
    }
    const then = this.#load();
    if (then?.pending?.id === change.id) this.#store({ ...then, pending: null });
    return true;
  }

  #tell(change: NonNullable<UploadState['pending']>) {
    countSubrequest();
    return writeChange(this.env, this.#id, change, Date.now());
  }

  #begun({ submission }: Submitted): UploadState {
    const now = Date.now();
    const state = begunState(this.#stepsOf({ submission }).first, now);
    // If the submission had begun, its record was lost, and the store may have something of it.
    const had = submission.state !== 'waiting';
    return { ...state, warnings: submission.warnings, ...(had && { uploadBeganAt: submission.createdAt }) };
  }

  #known({ submission: { state, createdAt, endsBy } }: Submitted): Known {
    return { rowState: state, createdAt, endsBy, now: Date.now() };
  }

  #counted<T>(work: () => Promise<T>): Promise<T> {
    return countingSubrequests(work, SUBREQUESTS_MAX);
  }

  #stepsOf({ submission: { store } }: Pick<Submitted, 'submission'>): StoreSteps<never> {
    return this.stores[store];
  }

  #read(): Promise<Submitted | null> {
    countSubrequest();
    return readSubmitted(this.env, this.#id);
  }

  async #forgetAll(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }

  async #save(state: UploadState): Promise<void> {
    this.#store(state);
    await this.ctx.storage.setAlarm(state.alarmAt);
  }

  #store(state: UploadState): void {
    this.ctx.storage.kv.put('record', state);
  }

  #load(): UploadState | undefined {
    return this.ctx.storage.kv.get<UploadState>('record');
  }

  #wish(): Wish | undefined {
    return this.ctx.storage.kv.get<Wish>('cancel');
  }

  get #id(): string {
    const { name } = this.ctx.id;
    if (!name) throw new Error('a StoreUpload must be opened by the name of its submission');
    return name;
  }
}

/** Whether the step is about to send the first byte. */
const isFirstToSend = ({ uploadBeganAt }: UploadState, { state }: Step<never>): boolean =>
  state === 'uploading' && uploadBeganAt === null;

/**
 * Waits for `work` no longer than `ms`. Clears its timer, because an object with a timer stays in memory and
 * costs money.
 */
async function untilDone(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => {}), late]);
  clearTimeout(timer);
}
