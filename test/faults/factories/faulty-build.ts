/**
 * Reads one build of a farm of faulty Macs, and waits for what it must become.
 *
 * Invariant: each method that waits asks again when the controller does not answer, because a test may have
 * killed it.
 */
import { expect } from 'vitest';
import { type BuildDetail, type Cause, LOG_COMPLETE_HEADER, type Verdict } from '#contract';
import type { Farm } from '../../../local/farm/farm.ts';

export interface Outcome {
  verdict: Verdict;
  step?: string;
  /** Null: the attempt has evidence, and no cause is shown. */
  cause?: Cause | null;
}

/** The farm of a build, and the way to wait on its Mac. */
interface Asked {
  farm: Farm;
  until(holds: () => boolean | Promise<boolean>, what: string): Promise<void>;
}

export class FaultyBuild {
  readonly id: string;
  readonly #mac: Asked;

  constructor(mac: Asked, id: string) {
    this.#mac = mac;
    this.id = id;
  }

  read(): Promise<BuildDetail> {
    return this.#mac.farm.api.build(this.id);
  }

  /** The log of this attempt; by default of the newest one. */
  async log(attempt?: number): Promise<{ text: string; complete: boolean }> {
    const { url, secrets } = this.#mac.farm.controller;
    const query = attempt === undefined ? '' : `?attempt=${attempt}`;
    const response = await fetch(`${url}/api/builds/${this.id}/logs${query}`, {
      headers: { Authorization: `Bearer ${secrets.ADMIN_KEY}` },
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    if (!response.ok) return { text: '', complete: false };
    return { text, complete: response.headers.get(LOG_COMPLETE_HEADER) === 'true' };
  }

  async artifact(name: string): Promise<string> {
    const { url, secrets } = this.#mac.farm.controller;
    const response = await fetch(`${url}/api/builds/${this.id}/artifacts/${name}`, {
      headers: { Authorization: `Bearer ${secrets.ADMIN_KEY}` },
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok) throw new Error(`${name} was answered ${response.status}`);
    return response.text();
  }

  /** Waits until the build's log in the controller has this text. */
  prints(text: string): Promise<void> {
    return this.#mac.until(async () => (await this.log()).text.includes(text), `${this.id} prints ${text}`);
  }

  async reaches(holds: (build: BuildDetail) => boolean, what: string): Promise<BuildDetail> {
    let build: BuildDetail | undefined;
    await this.#mac.until(async () => {
      build = await this.read();
      return holds(build);
    }, `${this.id} ${what}`);
    return build!;
  }

  async ends(): Promise<BuildDetail> {
    return await this.reaches(({ endedAt }) => endedAt !== null, 'ends');
  }

  /** Waits for success. With `log`, also checks that the log is exactly this. */
  async succeeds(log?: string): Promise<BuildDetail> {
    const build = await this.ends();
    expect({ status: build.status, attempts: build.attempts }).toMatchObject({ status: 'succeeded' });
    if (log !== undefined) await this.logged(log);
    return build;
  }

  async fails({ verdict, step, cause }: Outcome): Promise<BuildDetail> {
    let build = await this.ends();
    const { code, step: seenStep } = build.verdict ?? {};
    const seen = { verdict: code, step: seenStep, attempts: build.attempts };
    expect(seen).toMatchObject({ verdict, ...(step === undefined ? {} : { step }) });
    // If a deadline gave the verdict, the evidence arrives later.
    if (cause !== undefined) {
      build = await this.reaches(({ attempts }) => attempts.at(-1)?.evidence != null, 'has evidence');
      const { evidence } = build.attempts.at(-1)!;
      expect(build.cause?.code ?? null, JSON.stringify(evidence)).toBe(cause);
    }
    return build;
  }

  /** Waits until the log is sealed, and checks that it is exactly what the command printed. */
  async logged(expected: string): Promise<void> {
    let log = { text: '', complete: false };
    await this.#mac.until(async () => {
      log = await this.log();
      return log.complete;
    }, `the log of ${this.id} is complete`);
    expect(log.text).toBe(expected);
  }

  async hasOneEnding(): Promise<void> {
    const { events } = await this.reaches(() => true, 'can be read');
    const endings = new Map<number, string[]>();
    for (const { type, attempt } of events)
      if (['succeed', 'fail', 'requeue', 'hand_back', 'cancel', 'expire'].includes(type))
        endings.set(attempt, [...(endings.get(attempt) ?? []), type]);
    for (const [attempt, types] of endings) expect(types, `${this.id}, attempt ${attempt}`).toHaveLength(1);
  }
}
