/** The table of guest-scripts.ts as vm-image/vm-ssh-gate has it, so that the two can be compared: by tests, and by the agent over SSH. Pure. */
import { createHash } from 'node:crypto';
import { shellQuote } from './commands.ts';
import { GUEST_SCRIPTS, type GuestScript } from './scripts.ts';

const rows = Object.entries<GuestScript>(GUEST_SCRIPTS).map(
  ([name, { arguments: kinds, script }]) => `  ${name}) kinds='${kinds.join(' ')}' known=${shellQuote(script)} ;;`,
);

/** Two gates of one version let the same commands through. */
export const GATE_VERSION = createHash('sha256').update(rows.join('\n')).digest('hex').slice(0, 16);

/** What stands between the marks in vm-ssh-gate. */
export const GATE_TABLE = [
  `TARTBEAT_GATE=${GATE_VERSION}`,
  'case $name in',
  ...rows,
  '  *) refuse "no such command" ;;',
  'esac',
].join('\n');
