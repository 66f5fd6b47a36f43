/**
 * Ctrl-C, SIGTERM, and the SIGHUP of a terminal whose window is closed. By default the first one aborts the
 * command. A command that means something else by it, such as to leave a build that goes on, takes them.
 */
export type Interrupt = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** Has them from its making until it is disposed of. Then the process ends by the next one, as by default. */
export class Interrupts implements Disposable {
  readonly #abort = new AbortController();
  readonly #names: readonly Interrupt[];
  readonly #heard = (name: Interrupt) => (this.#taken ? this.#taken(name) : this.#abort.abort());
  #taken: ((name: Interrupt) => void) | null = null;

  constructor() {
    const hasTerminal = [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);
    // Below nohup, which leaves no stream at the terminal, a SIGHUP is to be ignored.
    this.#names = ['SIGINT', 'SIGTERM', ...(hasTerminal ? (['SIGHUP'] as const) : [])];
    for (const name of this.#names) process.on(name, this.#heard);
  }

  [Symbol.dispose](): void {
    for (const name of this.#names) process.off(name, this.#heard);
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
