/**
 * Ships the log of an attempt in the background, while it grows and after the attempt's end.
 *
 * Invariant: a log that cannot be shipped costs a warning, never the build.
 */
import { LogShipper, type LogShipperOptions } from './shipper.ts';

export interface LogShippingOptions extends LogShipperOptions {
  /** The agent leaves: the next run of the agent ships the rest. */
  leave: AbortSignal;
}

export class LogShipping {
  readonly #options: LogShippingOptions;
  readonly #shipper: LogShipper;
  readonly #timeIsUp = new AbortController();
  #running: Promise<void> | null = null;

  constructor(options: LogShippingOptions) {
    this.#options = options;
    this.#shipper = new LogShipper(options);
  }

  /** The file has grown. */
  poke(): void {
    this.#shipper.poke();
  }

  /** Ships from now on. Returns at once; safe to repeat. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** The file will not grow any more. */
  end(): void {
    this.#shipper.end();
  }

  /** Ships nothing more. Safe to repeat, and after the end. */
  stop(): void {
    this.#timeIsUp.abort();
  }

  /** Resolves when all is shipped, when the controller takes no more, or after the limit. Never rejects. */
  async finish(limitMs: number): Promise<void> {
    this.start();
    const timer = setTimeout(() => this.stop(), limitMs);
    await this.#running;
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    const { leave, emit } = this.#options;
    const signal = AbortSignal.any([leave, this.#timeIsUp.signal]);
    try {
      const { complete, message } = await this.#shipper.run(signal);
      if (!complete)
        emit({ type: 'warning', message: `the controller does not have the whole log of this build: ${message}` });
    } catch (error) {
      if (!signal.aborted) emit({ type: 'warning', message: `the log of this build is no longer shipped: ${error}` });
    }
  }
}
