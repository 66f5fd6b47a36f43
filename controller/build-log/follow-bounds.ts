/**
 * Watches the bounds of a followed log: the longest time of a stream, and the end of the follower's key.
 */
import { isMarkedEnded } from '../access/ended-keys.ts';
import type { FollowOptions } from './follow-parts.ts';
import { isSurelyAsked } from './revoked-followers.ts';

export interface FollowerKey {
  id: string;
  expiresAt: number | null;
}

interface FollowBounds {
  /** Tells to which attempt's log the stream has a socket now; null if it has none. */
  onSocket(attempt: number | null): void;
  stop(): void;
}

/**
 * A revocation closes the sockets of its key to the logs that it asks. A stream with such a socket looks for
 * the mark only at one check in this many.
 */
const CHECKS_WITH_SOCKET = 15;
/** The most times that a stream asks D1 whether revocations ask its log. For later logs it looks often. */
const QUESTIONS_MAX = 2;

/** Calls `onReached` at the first bound, perhaps more than once, until it is stopped. */
export function watchBounds(
  env: Env,
  { key, buildId, times }: { key: FollowerKey; buildId: string; times: FollowOptions['times'] },
  onReached: () => void,
): FollowBounds {
  /** The attempt to whose log there is a socket. */
  let socketTo: number | null = null;
  /** The attempt whose log every revocation asks. */
  let askedOf: number | null = null;
  let questions = 0;
  let checks = 0;
  const checkKey = async () => {
    const ended = await isMarkedEnded(env, key.id).catch(() => false);
    if (ended) onReached();
  };
  const askWhetherTold = async (attempt: number) => {
    if (attempt === askedOf || ++questions > QUESTIONS_MAX) return;
    const isAsked = await isSurelyAsked(env, buildId, attempt).catch(() => false);
    if (isAsked) askedOf = attempt;
  };
  const untilExpiryMs = key.expiresAt === null ? Infinity : Math.max(key.expiresAt - Date.now(), 0);
  const bound = setTimeout(onReached, Math.min(times.streamMaxMs, untilExpiryMs));
  const watch = setInterval(() => {
    const isTold = socketTo !== null && socketTo === askedOf;
    if (!isTold || ++checks % CHECKS_WITH_SOCKET === 0) void checkKey();
  }, times.keyCheckMs);

  return {
    onSocket(attempt) {
      socketTo = attempt;
      if (attempt === null) return;
      // A revocation that came before the socket did not find it.
      void checkKey();
      void askWhetherTold(attempt);
    },
    stop() {
      clearTimeout(bound);
      clearInterval(watch);
    },
  };
}
