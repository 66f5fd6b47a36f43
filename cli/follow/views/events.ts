/** Defines the events of followed builds that every view gets. */
import type { z } from 'zod';
import type { BUILD_LINES } from '../../json-lines/build-lines.ts';
import type { FOLLOW_LINES } from '../../json-lines/follow-lines.ts';

type FollowLine = z.infer<(typeof FOLLOW_LINES)[number] | (typeof BUILD_LINES)[number]>;

/** `text` is a piece of the log, which may begin and end in the middle of a line. */
export interface LogEvent {
  type: 'log';
  buildId: string;
  attempt: number;
  text: string;
}

/** How much of an artifact is on this disk. Only a view that can replace it by the next one shows it. */
interface TransferEvent {
  type: 'transfer';
  buildId: string;
  name: string;
  doneBytes: number;
  sizeBytes: number;
}

export type FollowEvent = LogEvent | TransferEvent | Exclude<FollowLine, { type: 'log' }>;

/** One way to show events. */
export interface View extends Disposable {
  show(event: FollowEvent): void;
  /** Resolves once the reader can take more. Rejects with the reason of `signal`. */
  ready(signal: AbortSignal): Promise<void>;
}
