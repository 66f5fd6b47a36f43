/** Defines the mark of a closed log. */
export interface ClosedLog {
  length: number;
  /** True if the log has the length and the digest that the agent gave. */
  complete: boolean;
}
