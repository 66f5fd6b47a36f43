/**
 * Brings one submission to its store: a Durable Object per submission, whose alarm runs one step of the store
 * at a time (stores/step.ts).
 *
 * Invariant: the record is stored before each step and after it. So a crash, a deployment or a lost answer
 * repeats one step and nothing else. A change is stored here before it is written to D1, and is written again
 * until D1 has it. An end that is decided stays.
 *
 * D1 says what a submission is; this object knows how far it has come. The key of the store is opened from D1
 * for each run, and is never stored here. Upload addresses and sessions are sealed, because anybody who has
 * one can upload.
 *
 * Owns the KV keys `record`, an {@link UploadState}, and `cancel`, a {@link Wish}, and the alarm. Reads R2
 * below `blobs/`.
 */
import { DurableObject } from 'cloudflare:workers';
import { open, type Place, seal } from '../secrets/sealing.ts';
import {
  ArtifactGone,
  type OpenedStoreKey,
  STORE_ADDRESSES,
  type StepContext,
  type StepData,
  type StoreAddresses,
  type StoreSteps,
  SUBREQUESTS_MAX,
} from '../stores/step.ts';
import { openStoreKey } from '../stores/store-keys.ts';
import { StoreUnreachable } from '../stores/store-request.ts';
import { countingSubrequests, countSubrequest } from '../subrequests.ts';
import { isAlarmLost } from '../times.ts';
import { STORES, type Stores } from './all-stores.ts';
import { writeChange } from './changes.ts';
import { createAfterSuccess } from './create.ts';
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
  type Outcome,
  pauseMs,
  type UploadState,
} from './upload-state.ts';

/** One run of a step takes so long at most. An alarm has 15 minutes. */
const RUN_MAX_MS = 4 * 60_000;
/** Also a step whose time is up gets so much, because the store may have the app by now. */
const RUN_MIN_MS = 30_000;
/** A step that does not heed its signal is left behind after this time. */
const UNHEEDED_MS = 5_000;
const CLEAN_UP_MS = 60_000;
/** The process may die during a run. Then the alarm of this time later goes on. */
const GUARD_MS = 10_000;
/** A cancellation waits so long for the run that is under way. */
const CANCEL_WAIT_MS = 20_000;
/** How often a submission asks whether it is its turn. */
const TURN_PAUSE_MS = 30_000;
/** So many bytes of a file are read in one piece at most. */
const READ_MAX_BYTES = 256 * 1024 * 1024;

/**
 * Somebody has asked to cancel it. It has a key of its own, so that no run that was under way overwrites it.
 */
interface Wish {
  says: string;
  /** Also if the store has the app already. */
  always: boolean;
}

export type Cancelled = 'cancelled' | 'ended' | 'too_late' | 'not_found';

const placeOfSession = (submissionId: string): Place => ['store_session', submissionId];

export class StoreUpload extends DurableObject<Env> {
  protected stores: Stores = STORES;
  protected addresses: StoreAddresses = STORE_ADDRESSES;

  #running: Promise<void> | null = null;
  #stop = new AbortController();

  /** Begins the submission, whose row is there. Again: changes nothing. */
  async begin(): Promise<void> {
    if (this.#load()) return;
    const submitted = await this.#counted(() => this.#read());
    if (!submitted || isFinalState(submitted.submission.state) || this.#load()) return;
    await this.#save(this.#begun(submitted));
  }

  /**
   * Makes the submission that a build has asked for, under the name of this object, and begins it. False if
   * it must be asked again.
   */
  async submitBuild(buildId: string): Promise<boolean> {
    if (!(await createAfterSuccess(this.env, buildId, Date.now()))) return false;
    await this.begin();
    return true;
  }

  /**
   * Cancels the submission. `too_late`: the store has the app, or is just getting it.
   *
   * @param always whether it ends also then: nothing more is done for it
   * @throws if that is not decided yet. Then it is heard, and may be asked again
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
   * may know no alarm, or one that should have run long ago.
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
    // The row says that it has not ended. So an end that is here was not written.
    await this.alarm();
    return 'repaired';
  }

  /** Deletes all that is stored, once the row is removed. False while it may still be there. */
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
      console.error(JSON.stringify({ event: 'submission_failed', submission: this.#id, error: nameOf(error) }));
      const state = this.#load();
      if (!state) return;
      const halts = state.halts + 1;
      await this.#save({ ...state, halts, alarmAt: Date.now() + pauseMs(halts) });
    }
  }

  async #work(): Promise<void> {
    // Before anything is awaited, so that whoever cancels from here on stops this run and not the last one.
    this.#stop = new AbortController();
    let state = this.#load();
    if (!state) return;
    if (state.pending && !(await this.#write(state))) return;
    state = this.#load();
    if (!state) return;
    const submitted = await this.#read();
    if (!submitted) return this.#forgetAll();
    const { submission } = submitted;
    const store = this.#stepsOf(submitted);
    const isOver = isFinalState(submission.state);
    if (state.ended && !isOver) return this.#decide(endedElsewhere(state));
    if (state.ended) return this.#cleanUp(state, store, submitted);
    const known = this.#known(submitted);
    if (isOver) return this.#decide({ ...state, ended: { cleanUp: 'due' } });
    const step = store.steps[state.step];
    if (!step) return this.#decide(endedAs(state, 'failed', { reason: 'internal' }, known));
    const wish = this.#wish();
    if (wish) {
      const stops = isCancellable(state, step);
      const says = stops ? wish.says : `${wish.says} The store may have the app already.`;
      if (stops || wish.always) return this.#decide(endedAs(state, 'cancelled', { says }, known));
      this.ctx.storage.kv.delete('cancel');
    }

    const sends = step.state === 'uploading' && state.uploadBeganAt === null;
    const begins = state.step === store.first && state.tries === 0 && state.uploadBeganAt === null;
    const why = sends || begins ? await this.#whyNotToSend(submitted, known) : whyNotAtAll(submitted);
    if (why) return this.#decide(failedAs(state, step, why, known));

    const to = later(step.state, submission.state);
    if (to !== submission.state || submitted.storeKey!.version !== submission.storeKeyVersion) {
      const says = to === submission.state ? null : beginning(to);
      const change = { ...changeOf(state, to, says), storeKeyVersion: submitted.storeKey!.version };
      if ((await this.#tell(change)) !== to) return this.#save({ ...state, alarmAt: Date.now() });
    }

    if (step.takesTurns) {
      const waits = await this.#waitsForTurn(submission);
      const told = { ...known, rowState: to };
      // The time of the step, and its tries, count from its turn on.
      const rested = { ...state, stepBeganAt: known.now };
      if (waits) return this.#decide({ ...after(rested, store, waits, told), tries: 0 });
    }

    const before = state;
    const begun = begunOnceMore(state);
    if (!begun) return this.#decide(failedAs(state, step, { reason: 'internal' }, known));
    if (state.begun > 2 && known.now >= lateAt(state, step, known)) return this.#decide(endedLate(state, step, known));
    state = {
      ...begun,
      ...(sends && { uploadBeganAt: known.now }),
      ...(step.state === 'processing' && { processingBeganAt: state.processingBeganAt ?? known.now }),
    };
    await this.#save({
      ...state,
      alarmAt: Date.now() + Math.max(GUARD_MS, before.begun > 0 ? pauseMs(state.begun) : 0),
    });

    const key = await openStoreKey(this.env, submitted.storeKey!);
    if (!key.ok) {
      if (key.code !== 'inputs_key_missing')
        return this.#decide(failedAs(state, step, { reason: 'key_gone', storeWords: key.message }, known));
      return this.#decide(after(state, store, { kind: 'retry', why: key.message }, { ...known, rowState: to }));
    }
    const data = await this.#data(state);
    if (!data) return this.#decide(anew(state, store.first, Date.now()));
    // Somebody has asked to cancel it meanwhile. That is judged before the step.
    if (this.#wish()) return this.#save({ ...before, alarmAt: Date.now() });
    state = { ...state, isGiven: !step.cancellable };
    this.#store(state);

    const { outcome, sealed } = await this.#run(state, store, submitted, key.key, data);
    const now = Date.now();
    const then = this.#load();
    if (!then) return;
    const next = after({ ...then, secret: sealed === undefined ? then.secret : sealed }, store, outcome, {
      ...known,
      rowState: to,
      now,
    });
    await this.#decide(next);
  }

  /** Null if no other submission of the app goes first. */
  async #waitsForTurn({ store, appId, projectId }: Submitted['submission']): Promise<Outcome | null> {
    countSubrequest();
    const first = await findFirst(this.env, store, appId);
    if (first === null || first.id === this.#id) return null;
    const which = first.projectId === projectId ? `submission ${first.id}` : 'a submission of another project';
    const says = `Waits for ${which}, which brings the same app to the store.`;
    return { kind: 'wait', afterMs: TURN_PAUSE_MS, data: { plain: this.#load()?.plain ?? {}, secret: {} }, says };
  }

  /** Runs the step, which has its time, and turns all that it throws into a result. */
  async #run(
    state: UploadState,
    store: StoreSteps<never>,
    submitted: Submitted,
    key: OpenedStoreKey,
    data: StepData,
  ): Promise<{ outcome: Outcome; sealed?: string | null }> {
    const step = store.steps[state.step]!;
    const untilLate = lateAt(state, step, this.#known(submitted)) - Date.now();
    const runMs = Math.min(RUN_MAX_MS, Math.max(RUN_MIN_MS, untilLate));
    const stop = this.#stop;
    const { signal } = stop;
    // The guard is set anew while the step runs, so that it goes off soon after the process has died.
    const guard = setInterval(() => this.ctx.storage.setAlarm(Date.now() + GUARD_MS), GUARD_MS / 2);
    try {
      const run = step.run(this.#context(state, submitted, key, signal), data);
      const result = await within(runMs, stop, run);
      if (!('data' in result)) return { outcome: result };
      return { outcome: result, sealed: await this.#sealed(result.data.secret) };
    } catch (error) {
      if (error instanceof ArtifactGone)
        return { outcome: { kind: 'failed', reason: 'artifact_gone', storeWords: null } };
      if (error instanceof StoreUnreachable || signal.aborted)
        return { outcome: { kind: 'retry', why: error instanceof StoreUnreachable ? error.message : NO_ANSWER } };
      console.error(
        JSON.stringify({ event: 'step_failed', submission: this.#id, step: state.step, error: nameOf(error) }),
      );
      return { outcome: { kind: 'fault', why: `The step ${state.step} failed: ${nameOf(error)}.` } };
    } finally {
      clearInterval(guard);
    }
  }

  #context(state: UploadState, submitted: Submitted, key: OpenedStoreKey, signal: AbortSignal): StepContext<never> {
    const { submission, artifact, r2Key } = submitted;
    return {
      artifact: {
        ...{ name: submission.artifact, size: submission.size, sha256: submission.sha256 },
        kind: (artifact?.app?.kind ?? 'ipa') as 'ipa' | 'aab' | 'apk',
        app: {
          ...{ id: submission.appId, version: submission.version, buildNumber: submission.buildNumber },
          usesNonExemptEncryption: artifact?.app?.usesNonExemptEncryption ?? null,
        },
      },
      options: submission.options as never,
      key,
      addresses: this.addresses,
      now: Date.now(),
      uploadBeganAt: state.uploadBeganAt,
      signal,
      bytes: async (offset, length) => {
        if (r2Key === null) throw new ArtifactGone();
        if (length > READ_MAX_BYTES) throw new RangeError(`${length} bytes at once`);
        countSubrequest();
        const object = await this.env.BLOBS.get(r2Key, { range: { offset, length } });
        if (!object) throw new ArtifactGone();
        return object.body;
      },
    };
  }

  /** Removes, once, what a submission that has not succeeded has left in the store. Then forgets it. */
  async #cleanUp(state: UploadState, store: StoreSteps<never>, submitted: Submitted): Promise<void> {
    if (state.ended?.cleanUp === 'due') {
      // Noted first: it is tried once, whatever comes of it.
      await this.#save({ ...state, ended: { cleanUp: 'none' }, alarmAt: Date.now() + GUARD_MS });
      try {
        const key = submitted.storeKey && (await openStoreKey(this.env, submitted.storeKey));
        const data = await this.#data(state);
        const stop = new AbortController();
        if (key?.ok && data)
          await within(CLEAN_UP_MS, stop, store.cleanUp(this.#context(state, submitted, key.key, stop.signal), data));
      } catch (error) {
        console.warn(JSON.stringify({ event: 'clean_up_failed', submission: this.#id, error: nameOf(error) }));
      }
    }
    await this.#forgetStore(state);
  }

  /** Stores what was decided, then tells D1. */
  async #decide(next: UploadState): Promise<void> {
    if (next.ended) this.ctx.storage.kv.delete('cancel');
    // Somebody may have asked to cancel it meanwhile. That is judged before the next step.
    const step = this.#wish() ? { ...next, alarmAt: Date.now() } : next;
    await this.#save(step);
    if (step.pending && !(await this.#write(step))) return;
    const written = this.#load();
    if (written?.ended?.cleanUp === 'none') await this.#forgetStore(written);
    else if (written?.ended) await this.#save({ ...written, alarmAt: Date.now() });
  }

  /** The record of an end stays, without what belongs to the store, so that no repetition begins anew. */
  async #forgetStore(state: UploadState): Promise<void> {
    this.#store({ ...state, plain: {}, secret: null, pending: null, ended: { cleanUp: 'none' } });
    await this.ctx.storage.deleteAlarm();
  }

  /** Writes the change that is stored. False if there is nothing more to do. */
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

  #whyNotToSend(submitted: Submitted, { now }: Known) {
    countSubrequest(RIGHT_STATEMENTS);
    return whyNotToSend(this.env, submitted, now);
  }

  #read(): Promise<Submitted | null> {
    countSubrequest();
    return readSubmitted(this.env, this.#id);
  }

  /** Null if what was sealed does not open any more: then the steps begin anew. */
  async #data({ plain, secret }: UploadState): Promise<StepData | null> {
    if (secret === null) return { plain, secret: {} };
    const opened = await open(this.env, placeOfSession(this.#id), secret);
    return opened.ok ? { plain, secret: JSON.parse(opened.text) as StepData['secret'] } : null;
  }

  async #sealed(secret: StepData['secret']): Promise<string | null> {
    if (Object.keys(secret).length === 0) return null;
    return (await seal(this.env, placeOfSession(this.#id), JSON.stringify(secret))).sealed;
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

/** So many statements ask whether a key still has a right. */
const RIGHT_STATEMENTS = 4;

const NO_ANSWER = 'The store did not answer in time.';

/**
 * Waits for `work` no longer than `ms`. No timer is left behind: an object with one stays in memory, and is
 * paid for.
 */
async function untilDone(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => {}), late]);
  clearTimeout(timer);
}

/**
 * Stops `work` after `ms`, and leaves it behind if it does not heed that, or that somebody else stopped it.
 */
async function within<T>(ms: number, stop: AbortController, work: Promise<T>): Promise<T> {
  const stopping = setTimeout(() => stop.abort(), ms);
  let leaving: ReturnType<typeof setTimeout> | null = null;
  const left = new Promise<never>((_, reject) => {
    stop.signal.addEventListener('abort', () => {
      leaving = setTimeout(() => reject(new Error('the work did not end in time')), UNHEEDED_MS);
    });
  });
  try {
    return await Promise.race([work, left]);
  } finally {
    clearTimeout(stopping);
    clearTimeout(leaving);
  }
}

/** The kind of an error, never its text: that may hold an address or a token. */
const nameOf = (error: unknown): string => (error instanceof Error ? error.name : 'unknown error');
