/**
 * Gets a build its number from the controller: before the boot where the agent can tell which app is built,
 * and otherwise when the build asks for it in the VM.
 *
 * Invariant: a number that the controller refuses ends the attempt with the controller's own sentence. Asking
 * again gives the same number.
 */
import { type BuildNumberRequest, BuildNumberRequest as Schema } from '#contract';
import type { Refused } from '../../client/answer.ts';
import { pause } from '../../client/retry.ts';
import { AttemptOver, failed } from '../ending.ts';
import { appOf } from '../expo/plan.ts';
import { parseAskedApp } from '../guest/answers.ts';
import { askedApp, giveNumber } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { AttemptContext } from './context.ts';
import { ask } from './step.ts';

/** The build waits for its number, so this is time that it loses. */
const LOOK_PAUSE_MS = 1_000;
const EXEC = { timeoutMs: GUEST_COMMAND_MS };

/** Rejects with AttemptOver. */
export async function askNumber(context: AttemptContext, request: BuildNumberRequest): Promise<number> {
  const { client, key, signal } = context;
  const { buildNumber } = await ask(context, 'number', () => client.number(key.buildId, request, signal), verdictOf);
  return buildNumber;
}

const verdictOf = ({ code }: Refused) =>
  code === 'number_not_seeded' || code === 'forbidden' ? 'project_invalid' : undefined;

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
    const { stdout } = await expectSuccess('number', guest.exec(askedApp(key), EXEC));
    signal.throwIfAborted();
    if (stdout.length === 0) continue;
    const number = await askNumber(context, { app: appIn(stdout), increment });
    await expectSuccess('number', guest.exec(giveNumber({ ...key, number }), EXEC));
    return await journal.update({ asksNumber: null });
  }
}

/** The build has written it, so it may be anything. */
function appIn(stdout: Buffer): BuildNumberRequest['app'] {
  const asked = parseAskedApp(stdout.toString('utf8'));
  const app = asked && Schema.shape.app.safeParse(appOf(asked.id, asked));
  if (app?.success) return app.data;
  const what = asked ? `the id ${JSON.stringify(asked.id)}, which no store takes` : 'no id';
  throw failed('project_invalid', 'project', `The app config has ${what}: correct the bundle id or the package.`);
}
