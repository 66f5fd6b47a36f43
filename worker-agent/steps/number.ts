/**
 * Gets the number of a build from the controller: before the boot if the agent can tell which app is built,
 * otherwise when the build asks for it in the VM.
 *
 * Invariant: if the controller refuses a number, the attempt ends with the controller's own sentence. The
 * exception is a build that does not count, of an app without a counter: it keeps the project's own number.
 * Asking again gives the same number.
 */
import { type BuildNumberRequest, BuildNumberRequest as Schema } from '#contract';
import type { Refused } from '../../client/answer.ts';
import { appOf } from '../../client/plan/plan.ts';
import { shown } from '../../client/project/formats/text.ts';
import { pause } from '../../client/retry.ts';
import { AttemptOver, failed } from '../ending.ts';
import { parseAskedApp } from '../guest/answers.ts';
import { askedApp, giveNumber } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import { SshError } from '../guest/ssh-error.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { AttemptContext } from './context.ts';
import { ask } from './step.ts';

/** Short, because the build loses this time while it waits for its number. */
const LOOK_PAUSE_MS = 1_000;
const EXEC = { timeoutMs: GUEST_COMMAND_MS };
/** A normal request of a build has some 300 bytes. The guest scripts print no more than this limit. */
const ASKED_MAX_BYTES = 4_096;
/** The number that Expo gives an app whose config has none. */
const FIRST_NUMBER = 1;

/**
 * Null if the app has no counter and the build does not need one, because it does not count. Rejects with
 * AttemptOver.
 */
export async function askNumber(context: AttemptContext, request: BuildNumberRequest): Promise<number | null> {
  const { client, key, signal } = context;
  const call = async () => {
    const answer = await client.number(key.buildId, request, signal);
    const isUncounted = !answer.ok && answer.kind === 'refused' && answer.code === 'number_not_seeded';
    return isUncounted && !request.increment ? ({ ok: true, value: { buildNumber: null } } as const) : answer;
  };
  const { buildNumber } = await ask<{ buildNumber: number | null }>(context, 'number', call, endingOf);
  return buildNumber;
}

/** `forbidden` is about rights and limits, so the sentence must not send anybody to look at the source. */
function endingOf({ code, message }: Refused): AttemptOver | undefined {
  if (code === 'number_not_seeded') return failed('project_invalid', 'project', message);
  if (code !== 'forbidden') return undefined;
  return failed('project_invalid', 'project', `The controller refuses the build its number: ${message}`);
}

/** Answers the build when it asks for its number, until disposed. May end the attempt; nothing is thrown. */
export function handOverNumber(context: AttemptContext, guest: Guest): Disposable {
  const stopped = new AbortController();
  const signal = AbortSignal.any([context.signal, stopped.signal]);
  const { asksNumber } = context.journal.state;
  if (asksNumber)
    handOver(context, guest, asksNumber.increment, signal).catch((error) => {
      if (signal.aborted) return;
      if (error instanceof AttemptOver) return context.end(error);
      context.emit({ type: 'warning', message: (error as Error).message });
    });
  return { [Symbol.dispose]: () => stopped.abort() };
}

async function handOver(context: AttemptContext, guest: Guest, increment: boolean, signal: AbortSignal) {
  const { key, journal } = context;
  for (;;) {
    await pause(LOOK_PAUSE_MS, signal);
    const stdout = await lookForApp(key, guest);
    signal.throwIfAborted();
    if (stdout.length === 0) continue;
    const app = appIn(stdout);
    // The build waits for a number in any case. If the project has no own number, the build gets the first.
    const number = (await askNumber(context, { app, increment })) ?? app.buildNumber ?? FIRST_NUMBER;
    await expectSuccess('number', guest.exec(giveNumber({ ...key, number }), EXEC));
    return await journal.update({ asksNumber: null });
  }
}

async function lookForApp(key: AttemptContext['key'], guest: Guest): Promise<Buffer> {
  const looked = guest.exec(askedApp(key), { ...EXEC, maxOutputBytes: ASKED_MAX_BYTES }).catch((error) => {
    throw error instanceof SshError && error.kind === 'overflow' ? askedTooLong() : error;
  });
  const { stdout } = await expectSuccess('number', looked);
  if (stdout.length >= ASKED_MAX_BYTES) throw askedTooLong();
  return stdout;
}

const askedTooLong = () =>
  failed(
    'project_invalid',
    'project',
    `The app id, version and number that the build wrote (app.json beside the source) have ${ASKED_MAX_BYTES} bytes or more: shorten them in the app config.`,
  );

/** The build has written it, so it may be anything. */
function appIn(stdout: Buffer): BuildNumberRequest['app'] {
  const asked = parseAskedApp(stdout.toString('utf8'));
  const app = asked && Schema.shape.app.safeParse(appOf(asked.id, asked));
  if (app?.success) return app.data;
  const what = asked ? `the id ${shown(asked.id)}, which no store takes` : 'no id';
  throw failed('project_invalid', 'project', `The app config has ${what}: correct the bundle id or the package.`);
}
