/**
 * Defines every line that a command prints under `--json`, as one schema.
 *
 * Invariant: under `--json`, standard output has such lines and nothing else.
 */
import { z } from 'zod';
import { BUILD_LINES } from './build-lines.ts';
import { EXPLAIN_LINES } from './explain-lines.ts';
import { FARM_LINES } from './farm-lines.ts';
import { FOLLOW_LINES } from './follow-lines.ts';
import { INIT_LINES } from './init-lines.ts';
import { LINK_LINES } from './link-lines.ts';
import { LOGIN_LINES } from './login-lines.ts';
import { PACK_LINES } from './pack-lines.ts';
import { STATUS_LINES } from './status-lines.ts';
import { STORE_KEY_LINES } from './store-key-lines.ts';
import { SUBMIT_LINES } from './submit-lines.ts';

export const JsonLine = z.discriminatedUnion('type', [
  ...BUILD_LINES,
  ...EXPLAIN_LINES,
  ...FARM_LINES,
  ...FOLLOW_LINES,
  ...INIT_LINES,
  ...LINK_LINES,
  ...LOGIN_LINES,
  ...PACK_LINES,
  ...STATUS_LINES,
  ...STORE_KEY_LINES,
  ...SUBMIT_LINES,
  z.strictObject({ type: z.literal('error'), message: z.string(), exitCode: z.number().int() }),
]);

export type JsonLine = z.infer<typeof JsonLine>;

/** A CI system obeys `##[…]` in the output of a job. JSON has another way to write it. */
export const printJson = (line: JsonLine): void =>
  void process.stdout.write(`${JSON.stringify(line).replaceAll('##[', '##\\u005b')}\n`);
