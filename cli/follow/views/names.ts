/**
 * Says which of several builds a line belongs to: by its platform, or by its id if two builds share one.
 * Pure.
 */
import type { FollowEvent } from './events.ts';

export class Names {
  readonly #platforms = new Map<string, string>();
  readonly #buildIds: readonly string[];

  constructor(buildIds: readonly string[]) {
    this.#buildIds = buildIds;
  }

  learn(event: FollowEvent): void {
    if (event.type === 'build') this.#platforms.set(event.build.id, event.build.platform);
  }

  /** Null if there is only one build. */
  of(buildId: string | null): string | null {
    if (buildId === null || this.#buildIds.length < 2) return null;
    const platforms = this.#buildIds.map((id) => this.#platforms.get(id));
    return new Set(platforms).size === platforms.length ? (this.#platforms.get(buildId) ?? buildId) : buildId;
  }
}

/** The build that an event is about. Null: all of them. */
export function buildIdOf(event: FollowEvent): string | null {
  if (event.type === 'build') return event.build.id;
  if (event.type === 'submission') return event.submission.buildId;
  return 'buildId' in event ? event.buildId : null;
}
