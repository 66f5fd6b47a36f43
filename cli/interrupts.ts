/**
 * Ctrl-C, SIGTERM, and the SIGHUP of a terminal whose window is closed. By default the first one aborts the
 * command. A command that means something else by it, such as to leave a build that goes on, takes them.
 */
export type Interrupt = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

export class Interrupts {
  readonly #abort = new AbortController();
  #taken: ((name: Interrupt) => void) | null = null;

  constructor() {
    const hasTerminal = [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);
    // Below nohup, which leaves no stream at the terminal, a SIGHUP is to be ignored.
    for (const name of ['SIGINT', 'SIGTERM', ...(hasTerminal ? (['SIGHUP'] as const) : [])] as const)
      process.on(name, () => (this.#taken ? this.#taken(name) : this.#abort.abort()));
  }

  /** Aborts when the command has to end. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** `handler` gets each interrupt until what is returned is disposed of. */
  take(handler: (name: Interrupt) => void): Disposable {
    this.#taken = handler;
    return {
      [Symbol.dispose]: () => {
        this.#taken = null;
      },
    };
  }

  /** Ends the command as the default does. */
  abort(): void {
    this.#abort.abort();
  }
}
