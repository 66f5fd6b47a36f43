/**
 * Ctrl-C and SIGTERM. By default the first one aborts the command. A command that means something else by it,
 * such as to leave a build that goes on, takes them.
 */
export type Interrupt = 'SIGINT' | 'SIGTERM';

export class Interrupts {
  readonly #abort = new AbortController();
  #taken: ((name: Interrupt) => void) | null = null;

  constructor() {
    for (const name of ['SIGINT', 'SIGTERM'] as const)
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
