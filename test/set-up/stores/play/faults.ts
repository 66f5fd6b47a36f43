/** Decides which request to the stand-in of Google Play fails, and how. */
import { Faults } from '../faults.ts';
import type { PlayAct, PlayOperation } from './control.ts';

const ACTS: readonly PlayAct[] = [
  { kind: 'lose' },
  { kind: 'cut' },
  { kind: 'status', status: 429, retryAfter: '0' },
  { kind: 'status', status: 500 },
  { kind: 'status', status: 503 },
  { kind: 'refuse', refusal: 'unauthenticated' },
  { kind: 'refuse', refusal: 'edit_deleted' },
  { kind: 'refuse', refusal: 'internal' },
  { kind: 'refuse', refusal: 'not_completed' },
  { kind: 'slow', delayMs: 20 },
  { kind: 'forget' },
  { kind: 'damage' },
];

export class PlayFaults extends Faults<PlayOperation, PlayAct> {
  constructor() {
    super(ACTS);
  }
}
