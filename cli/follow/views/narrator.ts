/**
 * Says in sentences for people what happens to builds. Remembers which sentences it has said of each. Pure.
 */
import { dirname, join } from 'node:path';
import type { Build } from '#contract';
import { printable } from '../../../client/printable.ts';
import { duration } from '../../words.ts';
import type { FollowEvent, LogEvent } from './events.ts';
import { explainedLines, storeFailureLines, tookMs, verdictLines } from './verdict-lines.ts';

export class Narrator {
  readonly #known = new Set<string>();
  readonly #waits = new Map<string, string>();
  readonly #submissions = new Map<string, { saidUntil: number; state: string }>();

  /** The lines for an event, each safe in a terminal. None if it says nothing new to a person. */
  lines(event: Exclude<FollowEvent, LogEvent>): string[] {
    return this.#linesOf(event).map((line) => printable(line).trimEnd());
  }

  #linesOf(event: Exclude<FollowEvent, LogEvent>): string[] {
    switch (event.type) {
      case 'build':
        return this.#build(event.build);
      case 'progress': {
        const { buildId, live, waitingFor } = event;
        if (waitingFor === null || live !== null || this.#waits.get(buildId) === waitingFor) return [];
        this.#waits.set(buildId, waitingFor);
        return [`It waits for ${waitingFor}.`];
      }
      case 'connection':
      case 'note':
        return [event.message];
      case 'known_error':
        return ['An error that is known stands in the log:', ...explainedLines(event.explained)];
      case 'verdict':
        return verdictLines(event);
      case 'artifact':
        return artifactLines(event);
      case 'submission':
        return this.#submission(event.submission);
      case 'not_submitted':
        return ['Nothing was submitted.', ...storeFailureLines(event.failure)];
      case 'transfer':
      case 'end':
        return [];
    }
  }

  #build(build: Build): string[] {
    const isFirst = !this.#known.has(build.id);
    this.#known.add(build.id);
    const about = [build.project && `project ${build.project}`, build.platform, build.profile ?? build.command];
    const first = isFirst ? [`Build ${build.id}: ${about.filter(Boolean).join(', ')}.`] : [];
    // If the build has ended already, its log is shown first, and then its end.
    return isFirst && build.endedAt !== null ? first : [...first, ...this.#state(build, isFirst)];
  }

  #state(build: Build, isFirst: boolean): string[] {
    const { status, attempt, maxAttempts } = build;
    switch (status) {
      case 'queued':
        return [isFirst && attempt === 0 ? 'It is in the queue.' : `Attempt ${attempt} has ended; it is queued again.`];
      case 'assigned':
        return [`Attempt ${attempt}${maxAttempts > 1 ? ` of at most ${maxAttempts}` : ''} has a Mac. Its VM starts.`];
      case 'building':
        return ['It builds.'];
      case 'succeeded':
        return [`Succeeded after ${duration(tookMs(build))}.`];
      case 'failed':
        return [`Failed after ${duration(tookMs(build))}.`];
      case 'cancelled':
        return [build.supersededBy === null ? 'Cancelled.' : `Build ${build.supersededBy} has superseded it.`];
    }
  }

  #submission({
    id,
    store,
    state,
    timeline,
    failure,
    warnings,
  }: Extract<FollowEvent, { type: 'submission' }>['submission']) {
    const before = this.#submissions.get(id);
    this.#submissions.set(id, { saidUntil: timeline.length, state });
    return [
      ...(before ? [] : [`Submission ${id} to ${STORE_NAMES[store]}.`]),
      ...timeline.slice(before?.saidUntil ?? 0).map(({ says }) => `  ${says}`),
      ...(before?.state !== state && failure ? storeFailureLines(failure) : []),
      ...(before?.state !== state && state === 'done' ? warnings.map((text) => `  ${text}`) : []),
    ];
  }
}

function artifactLines({ artifact, path }: Extract<FollowEvent, { type: 'artifact' }>): string[] {
  if (path === null) return [`Artifact ${artifact.name}`];
  const app = /([^/]+\.app)\.tar\.gz$/.exec(artifact.name)?.[1];
  const folder = dirname(path);
  const install = `tar -xzf ${shellWord(path)} -C ${shellWord(folder)} && xcrun simctl install booted ${shellWord(join(folder, app ?? ''))}`;
  const hint = app && artifact.app?.signing === 'simulator' ? [`  Install it in the simulator: ${install}`] : [];
  return [`Downloaded ${path}`, ...hint];
}

const shellWord = (text: string): string => (/^[\w./@+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

export const STORE_NAMES = { 'app-store-connect': 'App Store Connect', 'google-play': 'Google Play' } as const;
