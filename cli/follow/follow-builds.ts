/**
 * Follows builds until all of them have ended, or until somebody leaves.
 *
 * Invariant: it ends with the exit code of the worst build. A build goes on when its follower ends, except
 * when a CI job is cancelled.
 */
import { once } from 'node:events';
import { join } from 'node:path';
import type { BuildDetail, FailureExplanation } from '#contract';
import type { BuildsClient } from '../../client/builds-client.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Interrupts } from '../interrupts.ts';
import { printJson } from '../json-lines/json-lines.ts';
import { cancelBuilds } from './cancel-builds.ts';
import { AWAY_AFTER_MS, Contact, FOLLOW_GIVE_UP_AFTER_MS } from './contact.ts';
import { type FollowBuildOptions, type FollowTimes, followBuild } from './follow-build.ts';
import { followSubmissionsOf } from './follow-submissions.ts';
import { howToCancel, howToComeBack, Interruptions, leave } from './interruption.ts';
import { KnownErrorWatch } from './known-error-watch.ts';
import { exitCodeOf, worstOf } from './outcome.ts';
import { ownFolderOf, showArtifacts } from './show-artifacts.ts';
import type { View } from './views/events.ts';
import { outputGone } from './views/output.ts';
import { viewFor } from './views/view-for.ts';
import { hasPerson } from './views/who-looks.ts';

export interface FollowOptions {
  interrupts: Interrupts;
  json: boolean;
  /** Leave at the first error in a log that the catalogue knows. The builds go on. */
  failFast: boolean;
  /** A CI job that is cancelled leaves the builds alone. */
  detach: boolean;
  /**
   * Where to put the artifacts of builds that succeed. `true`: each build gets a folder `expo-build-ID` in
   * the current one. Null: nowhere. Several builds get a folder each below the named one.
   */
  downloadTo: string | true | null;
  /** Also follow the submission of a build to a store. */
  withStore: boolean;
  times?: Partial<FollowTimes & { awayAfterMs: number }>;
}

const TIMES = {
  pollMs: 3_000,
  lastBytesMs: 30_000,
  giveUpAfterMs: FOLLOW_GIVE_UP_AFTER_MS,
  awayAfterMs: AWAY_AFTER_MS,
};

export async function followBuilds(
  client: BuildsClient,
  buildIds: readonly string[],
  options: FollowOptions,
): Promise<ExitCode> {
  using interruptions = new Interruptions(options.interrupts);
  const following = new Following(client, buildIds, options);
  const how = await following.untilOver(interruptions);
  const exitCode =
    how === 'interrupted' ? await interrupted(client, following.unfinished, options, interruptions) : how;
  if (options.json) printJson({ type: 'end', builds: following.ends, exitCode });
  return exitCode;
}

async function interrupted(
  client: BuildsClient,
  unfinished: readonly string[],
  { detach }: FollowOptions,
  interruptions: Interruptions,
): Promise<ExitCode> {
  if (unfinished.length === 0) {
    process.stderr.write(
      '\nThe build has ended. What followed it here is stopped, and the same command takes it up.\n',
    );
    return hasPerson() ? EXIT.detached : EXIT.cancelled;
  }
  const cancels = hasPerson() ? await leave(unfinished, interruptions) : !detach;
  if (cancels) return await cancelBuilds(client, unfinished);
  if (!hasPerson()) process.stderr.write(`${howToComeBack(unfinished)}\n`);
  return EXIT.detached;
}

class Following {
  readonly #client: BuildsClient;
  readonly #buildIds: readonly string[];
  readonly #options: FollowOptions;
  readonly #seen = new Map<string, BuildDetail>();
  readonly #codes = new Map<string, ExitCode>();
  readonly #stop = new AbortController();

  constructor(client: BuildsClient, buildIds: readonly string[], options: FollowOptions) {
    this.#client = client;
    this.#buildIds = buildIds;
    this.#options = options;
  }

  /** The builds that can still be cancelled. */
  get unfinished(): string[] {
    return this.#buildIds.filter((id) => (this.#seen.get(id)?.endedAt ?? null) === null);
  }

  /** The last known status of each build, and its exit code if it was followed to its end. */
  get ends() {
    return this.#buildIds.map((buildId) => ({
      buildId,
      status: this.#seen.get(buildId)?.status ?? null,
      exitCode: this.#codes.get(buildId) ?? null,
    }));
  }

  async untilOver(interruptions: Interruptions): Promise<ExitCode | 'interrupted'> {
    const { connection } = this.#client;
    using view = viewFor(this.#buildIds, { json: this.#options.json, now: () => connection.now() });
    const times = { ...TIMES, ...this.#options.times };
    const contact = new Contact({
      awayAfterMs: times.awayAfterMs,
      say: (reached, message) => view.show({ type: 'connection', reached, message }),
    });
    const work = this.#buildIds.map((buildId) => this.#follow(buildId, { view, contact, times }));
    try {
      const first = await Promise.race([
        Promise.all(work),
        interruptions.next().then(() => 'interrupted' as const),
        once(outputGone(), 'abort').then(() => EXIT.detached),
      ]);
      return Array.isArray(first) ? worstOf(first) : first;
    } catch (error) {
      if (!(error instanceof KnownErrorFound)) throw error;
      const { buildId, explained } = error;
      view.show({ type: 'known_error', buildId, explained });
      view.show({
        type: 'note',
        buildId,
        message: `${howToComeBack(this.unfinished)} ${howToCancel(this.unfinished)}`,
      });
      return EXIT.failed;
    } finally {
      this.#stop.abort();
      await Promise.allSettled(work);
    }
  }

  async #follow(buildId: string, shared: Pick<FollowBuildOptions, 'view' | 'contact' | 'times'>): Promise<ExitCode> {
    const { view } = shared;
    const { failFast, withStore } = this.#options;
    const errors = failFast ? new KnownErrorWatch() : null;
    const options = { ...shared, client: this.#client, signal: this.#stop.signal };
    const build = await followBuild({
      ...options,
      buildId,
      onLog: (text, attempt) => errors?.push(text, attempt),
      onSeen: (seen) => {
        this.#seen.set(buildId, seen);
        const explained = seen.endedAt === null ? errors?.look() : null;
        if (explained) throw new KnownErrorFound(buildId, explained);
      },
    });
    if (build.verdict && build.supersededBy === null)
      view.show({ type: 'verdict', buildId, verdict: build.verdict, cause: build.cause });
    let exitCode = exitCodeOf(build);
    const succeeded = exitCode === EXIT.ok;
    const areHere = await this.#showArtifacts(build, view);
    if (succeeded && withStore && build.submit) exitCode = await followSubmissionsOf(build, options);
    if (!areHere) exitCode = worstOf([exitCode, EXIT.failed]);
    this.#codes.set(buildId, exitCode);
    return exitCode;
  }

  /**
   * Downloads the artifacts of a build that succeeded, if `downloadTo` is set. False if one could not be
   * downloaded.
   */
  async #showArtifacts(build: BuildDetail, view: View): Promise<boolean> {
    const { signal } = this.#stop;
    const folder = build.status === 'succeeded' ? this.#folderOf(build) : null;
    try {
      await showArtifacts(this.#client, build, { view, folder, names: null, signal });
      return true;
    } catch (error) {
      signal.throwIfAborted();
      const why = (error as Error).message;
      const message = `Not all artifacts are here. ${why} \`expo-build download ${build.id} --to FOLDER\` fetches them.`;
      view.show({ type: 'note', buildId: build.id, message });
      return false;
    }
  }

  #folderOf({ id, platform }: BuildDetail): string | null {
    const { downloadTo } = this.#options;
    if (downloadTo === true) return ownFolderOf(id);
    if (downloadTo === null || this.#buildIds.length === 1) return downloadTo;
    const platforms = this.#buildIds.map((buildId) => this.#seen.get(buildId)?.platform);
    return join(downloadTo, new Set(platforms).size === platforms.length ? platform : id);
  }
}

class KnownErrorFound extends Error {
  readonly buildId: string;
  readonly explained: FailureExplanation;
  constructor(buildId: string, explained: FailureExplanation) {
    super(explained.sentence);
    this.buildId = buildId;
    this.explained = explained;
  }
}
