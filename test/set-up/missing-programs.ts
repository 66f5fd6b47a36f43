/**
 * Global set-up: says once, before all tests, which programs are missing and which command installs them.
 * In CI a missing program is a failure, because tests would be left out.
 */
import { installCommand, PROGRAMS, type Program, pathOf } from './programs.ts';

export function setup(): void {
  const lines = (Object.keys(PROGRAMS) as Program[])
    .filter((program) => pathOf(program) === null)
    .map(
      (program) =>
        `${program} is missing, so tests of this are left out: ${PROGRAMS[program].neededBy}. Install it: \`${installCommand([program])}\``,
    );
  if (lines.length === 0) return;
  if (process.env.CI) throw new Error(`in CI every test must run.\n${lines.join('\n')}`);
  process.stderr.write(`\n${lines.join('\n')}\n`);
}
