/**
 * Defines what a BuildLog and the Worker of a follower say to each other over their socket. Pure.
 *
 * The Worker sends `next`, and only when its reader has taken what came before. The log answers with the next
 * bytes, or says that there are none. So a slow reader holds nothing in the memory of either.
 */
import type { ClosedLog } from './closed-log.ts';

export const NEXT = 'next';

/** The most bytes that one message carries. */
export const MESSAGE_MAX_BYTES = 256 * 1024;

/** The messages of the log in text. The bytes of the log come as they are. */
export type LogSays =
  /** All stored bytes were sent. More come by themselves. */
  | { type: 'waiting' }
  /** Nothing more will be added. Bytes that were not sent by now are in R2. */
  | ({ type: 'closed' } & ClosedLog)
  /** The attempt has ended, and its log is not whole yet. */
  | { type: 'ended' }
  /** The follower's key was revoked. */
  | { type: 'key_ended' };

export const asText = (said: LogSays): string => JSON.stringify(said);
export const parseSaid = (text: string): LogSays => JSON.parse(text) as LogSays;
