/**
 * Receives Ctrl-C, SIGTERM, and the SIGHUP of a terminal whose window is closed. By default the first one
 * aborts the command. A command with another meaning for them, such as to leave a build, takes them.
 */
export type Interrupt = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** Receives them until it is disposed of. After that the next one ends the process, as by default. */
export class Interrupts implements Disposable {
  readonly #abort = new AbortController();
  readonly #names: readonly Interrupt[];
  readonly #heard = (name: Interrupt) => (this.#taken ? this.#taken(name) : this.#abort.abort());
  #taken: ((name: Interrupt) => void) | null = null;

  constructor() {
    const hasTerminal = [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);
    // Under nohup no stream is a terminal, and the command must ignore a SIGHUP.
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

  /** `handler` gets each interrupt until the returned object is disposed of. */
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
