/**
 * Keeps the VM of a failed attempt for a while, so that a person can look into it.
 *
 *   clean in the VM ──► journal ──► controller told ──► wait for the end ──► (close destroys it, and tells)
 *
 * If the controller has ended the attempt itself, the agent first waits for its answer. No VM is kept if the
 * build was cancelled, or if another attempt follows.
 *
 * Invariant: a VM is kept only once no process of the build and no secret is left in it, its network is cut,
 * and the journal knows until when. It holds its slot for no longer than that, however the clocks run: time
 * asleep counts, and a clock that is set back gives no more time. A restarted agent counts anew, so a clock
 * that was set back before the restart gives at most the whole time again.
 */
import { existsSync } from 'node:fs';
import type { Answer } from '../../client/answer.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { pause, untilAnswered, within } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { searchedTexts } from '../build-log/searched-texts.ts';
import type { Ending } from '../ending.ts';
import type { KeptEnd } from '../events.ts';
import { parseFilesDeleted } from '../guest/answers.ts';
import { cleanForKeeping, echoAlive } from '../guest/commands.ts';
import { findScripts } from '../guest/installation.ts';
import { isMissingIn } from '../guest/scripts.ts';
import { Guest, howEnded } from '../guest/session.ts';
import type { AttemptContext } from '../steps/context.ts';
import type { Vm } from '../vm/vm.ts';
import type { Told } from './deliver.ts';
import { type Wish, whyNotAfter, wishToKeep } from './keep-wish.ts';
import type { Reached } from './work.ts';

/** The limit for the first answers of the VM. */
const ANSWER_MS = 15_000;
/** Every file that the build has changed is searched for secrets. */
const CLEAN_MS = 180_000;
/** How often the agent looks whether a kept VM is to end. */
const LOOK_MS = 500;
/** Files from before the claim are searched too, because clocks differ. */
const SLACK_MINUTES = 30;
/** For the controller's answer about an attempt that it has ended. Then another Mac may get the build. */
const TOLD_MS = 20_000;
/** If the controller does not hear it, it still knows until when the VM was to be kept. */
const TELL_END_MS = 60_000;

/**
 * Resolves once the VM is not to be kept, or not any longer. `told` resolves with the controller's answer to
 * the result, or with null if it said nothing of the attempt. Rejects only for a bug.
 */
export async function keepWhileWanted(
  context: AttemptContext,
  ending: Ending | null,
  reached: Reached | null,
  told: Promise<Told | null>,
): Promise<void> {
  const { journal, emit } = context;
  if (!journal.state.kept) {
    const wish = wishOf(context, ending, reached);
    if (!wish) return;
    const why =
      'why' in wish ? wish.why : ((await whyNotAllowed(context, ending!, told)) ?? (await clean(context, reached!)));
    if (why !== null) emit({ type: 'warning', message: `the VM is not kept: ${why}` });
    if (why !== null || 'why' in wish) return;
    await journal.update({ kept: { untilMs: Date.now() + wish.keepMs, forMs: wish.keepMs, ended: null } });
  }
  reached?.vm?.release();
  if (!journal.isKept) return; // a former run of the agent has ended it
  emit({ type: 'kept', until: untilOf(context) });
  const ended = await waitForEnd(context, told);
  await journal.update({ kept: { ...journal.state.kept!, ended } });
  emit({ type: 'kept_end', reason: ended });
}

/** Tells the controller that the VM is kept no longer. Resolves when it knows, or after TELL_END_MS. */
export async function tellKeptEnd({ journal, key, workerClient, leave }: AttemptContext): Promise<void> {
  if (!journal.state.kept) return;
  const { buildId, attempt } = key;
  const client = new AttemptClient(workerClient.connection);
  const tell = () => client.kept(buildId, { attempt, until: null }, leave);
  await untilAnswered(tell, { signal: leave, giveUpAfterMs: TELL_END_MS }).catch((error) => {
    if (!leave.aborted) throw error;
  });
}

const untilOf = ({ journal }: AttemptContext) => new Date(journal.state.kept!.untilMs).toISOString();

/** Null if nobody has asked for it. */
function wishOf(context: AttemptContext, ending: Ending | null, reached: Reached | null): Wish | null {
  const { journal, config, drain } = context;
  if (!ending || !reached) return null;
  const { assignment, result } = journal.state;
  const wish = wishToKeep(ending, assignment, config.keepVmMaxMs);
  if (!wish || 'why' in wish) return wish;
  if (drain.aborted) return { why: DRAINS };
  if (!reached.vm) return { why: 'it has never answered over SSH' };
  if (reached.vm.exited.aborted) return { why: 'it has ended' };
  // The command was started, and this run of the agent could not open its log.
  if (journal.reached('command_started') && !reached.log)
    return { why: 'the agent does not know the secrets of the build any more' };
  const evidence = result && 'evidence' in result ? result.evidence : undefined;
  if (evidence?.ssh?.answers === false) return { why: SILENT };
  return wish;
}

const DRAINS = 'the agent takes no more builds';
const SILENT = 'SSH in it does not answer, so nothing can be removed';

/** Null if the attempt has failed here, or if the controller says that its verdict has failed the build. */
async function whyNotAllowed(
  { drain }: AttemptContext,
  ending: Ending,
  told: Promise<Told | null>,
): Promise<string | null> {
  if (ending.kind !== 'stopped') return null;
  try {
    return whyNotAfter((await within(told, TOLD_MS, drain)) ?? null);
  } catch {
    return drain.aborted ? DRAINS : 'the controller could not be told how the attempt ended';
  }
}

/** Cleans the VM. Null once it is clean. Otherwise the reason why it is not. */
async function clean(context: AttemptContext, { vm, log }: Reached): Promise<string | null> {
  const { drain, key, journal, emit } = context;
  const mask = log?.mask ?? ((text: string) => text);
  const limit = AbortSignal.timeout(CLEAN_MS);
  try {
    await answers(vm!, AbortSignal.any([drain, AbortSignal.timeout(ANSWER_MS)]));
  } catch {
    return drain.aborted ? DRAINS : SILENT;
  }
  const { version } = vm!.scripts;
  if (version === null || isMissingIn(version, 'kept clean'))
    return `the guest scripts of its image (${version ?? 'none'}) are too old to clean it. Run \`expo-worker base-image --force --restrict-key\`, which makes the base image anew`;
  const claimedAgoMs = Math.max(0, Date.now() - Date.parse(journal.state.assignment.claimedAt));
  const minutes = Math.ceil(claimedAgoMs / 60_000) + SLACK_MINUTES;
  const command = cleanForKeeping({ ...key, texts: searchedTexts(log?.needles ?? []), minutes });
  try {
    const guest = sessionFor(vm!, AbortSignal.any([drain, limit]));
    const cleaned = await guest.exec(command, { timeoutMs: CLEAN_MS });
    if (cleaned.exitCode !== 0) return mask(howEnded(cleaned));
    const files = parseFilesDeleted(cleaned.stdout.toString('latin1'));
    if (files > 0)
      emit({ type: 'warning', message: `${files} files with secrets of the build were deleted in the VM` });
    return null;
  } catch (error) {
    if (drain.aborted) return DRAINS;
    return limit.aborted ? `it was not clean after ${CLEAN_MS / 1_000} s` : (error as Error).message;
  }
}

/** Rejects if the VM does not answer before the signal. */
async function answers(vm: Vm, signal: AbortSignal): Promise<void> {
  const guest = sessionFor(vm, signal);
  await guest.exec(echoAlive(), { timeoutMs: ANSWER_MS });
  await guest.attempt((ssh) => findScripts(ssh, vm.scripts, signal));
}

/** A new session, because that of the attempt has ended with it. */
const sessionFor = (vm: Vm, signal: AbortSignal): Guest =>
  new Guest({
    vm,
    deadLimitMs: Number.POSITIVE_INFINITY,
    slowLimitMs: 0,
    vmBeats: () => false,
    onReconnected: () => {},
    signal,
  });

/** Meanwhile tells the controller that the VM is kept, until it answers. */
async function waitForEnd(context: AttemptContext, told: Promise<Told | null>): Promise<KeptEnd> {
  const { journal, drain, stop, tart, emit } = context;
  const { untilMs, forMs } = journal.state.kept!;
  const endAwakeMs = awakeMs() + Math.min(forMs, untilMs - Date.now());
  const over = new AbortController();
  const wake = new AbortController();
  const waking = AbortSignal.any([drain, stop, wake.signal]);
  let end: KeptEnd | null = null;
  const endWith = (reason: KeptEnd) => {
    end ??= reason;
    wake.abort();
  };
  if (journal.state.run)
    tart.waitForRunExit(journal.state.run, over.signal).then(
      () => endWith('vm_ended'),
      () => {},
    );
  tellKept(context, told, over.signal).then(
    (answer) => {
      if (answer.ok || answer.kind === 'unreachable') return;
      emit({ type: 'warning', message: `the controller does not want the VM to be kept: ${answer.message}` });
      endWith('refused');
    },
    () => {}, // over
  );
  try {
    for (;;) {
      if (drain.aborted || stop.aborted) return 'drained';
      if (end) return end;
      if (existsSync(journal.releasePath)) return 'released';
      if (Date.now() >= untilMs || awakeMs() >= endAwakeMs) return 'limit';
      await pause(LOOK_MS, waking).catch(() => {});
    }
  } finally {
    over.abort();
  }
}

/** Waits for the result to be told first, because the controller keeps no VM of an attempt that runs. */
async function tellKept(
  context: AttemptContext,
  told: Promise<Told | null>,
  signal: AbortSignal,
): Promise<Answer<unknown>> {
  const { journal, key, workerClient } = context;
  const wasReported = journal.state.reported;
  const answer = await told;
  const refused = (message: string): Answer<never> => ({
    ok: false,
    kind: 'refused',
    status: 409,
    code: 'attempt_ended',
    message,
  });
  if (!answer && !wasReported) return refused('it has refused the result');
  if (answer?.verdict === 'cancelled') return refused('the build was cancelled');
  const { buildId, attempt } = key;
  const client = new AttemptClient(workerClient.connection);
  const tell = () => client.kept(buildId, { attempt, until: untilOf(context) }, signal);
  return await untilAnswered(tell, { signal, giveUpAfterMs: Number.POSITIVE_INFINITY });
}
