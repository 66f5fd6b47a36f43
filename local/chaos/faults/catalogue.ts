/**
 * Lists all faults of `npm run chaos` as data. fault.ts defines a fault.
 *
 * Invariant: a new fault takes one new row. Every fault that ends an attempt names the right causes.
 * docs/reliability.md has the same table, and a test compares the two.
 */
import { BOOT_FAULTS } from './boot.ts';
import type { Fault } from './fault.ts';
import { MAC_FAULTS } from './mac.ts';
import { OTHER_FAULTS } from './others.ts';
import { RUNNING_VM_FAULTS } from './vm.ts';

/** The order decides which faults a seed draws. */
export const FAULTS: readonly Fault[] = [...BOOT_FAULTS, ...RUNNING_VM_FAULTS, ...MAC_FAULTS, ...OTHER_FAULTS];

export const faultOf = (kind: string): Fault => {
  const fault = FAULTS.find((one) => one.kind === kind);
  if (!fault)
    throw new RangeError(`There is no fault ${kind}. There are: ${FAULTS.map((one) => one.kind).join(', ')}.`);
  return fault;
};

/** True if the build must end by itself although the fault met it. */
export const isSurvived = ({ ends }: Fault): boolean => ends.includes('succeeded');
