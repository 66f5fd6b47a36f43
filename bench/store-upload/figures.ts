/** Defines the figures of a submission that the Worker of bench/store-upload.ts reports. */

/** Counted since the process began. */
export interface Figures {
  /** Alarms of the objects of submissions. */
  invocations: number;
  /**
   * The subrequests of the alarm with the most: requests to a store, calls of R2 and statements of D1, each
   * counted.
   */
  subrequestsMax: number;
  /** From the first byte of the file to the answer to its last one. */
  sendingMs: number;
}
