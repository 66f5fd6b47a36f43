/**
 * Knows by how much each running clone has grown, so that the next clone leaves room for the others.
 *
 * Invariant: it never says more than a clone has grown. A file that two clones share counts for neither.
 */
import type { Tart } from '../tart/tart.ts';

export class CloneGrowth {
  readonly #tart: Pick<Tart, 'diskBytes'>;
  /** The size of each clone when the agent first saw it. */
  #first = new Map<string, number>();

  constructor(tart: Pick<Tart, 'diskBytes'>) {
    this.#tart = tart;
  }

  /** In bytes, for each of these VMs. Forgets all others. */
  async of(vms: readonly string[]): Promise<number[]> {
    const first = new Map<string, number>();
    const grown: number[] = [];
    for (const name of vms) {
      const bytes = await this.#tart.diskBytes(name);
      const before = this.#first.get(name) ?? bytes;
      if (before !== null) first.set(name, before);
      grown.push(Math.max(0, (bytes ?? 0) - (before ?? 0)));
    }
    this.#first = first;
    return grown;
  }
}
