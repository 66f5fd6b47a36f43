/** Defines what the Worker of bench/store-upload.ts says of the submission that it has run. */

/** Since the process began. */
export interface Figures {
  /** Alarms of the objects of submissions. */
  invocations: number;
  /** Of the alarm with the most: requests to a store, calls of R2, and statements of D1, each for itself. */
  subrequestsMax: number;
  /** From the first byte of the file to the answer to its last one. */
  sendingMs: number;
}
