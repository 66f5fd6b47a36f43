/** Reads the lines around the line of an error, because the details may be above or below it. Pure. */
import type { FailingLine } from './failing-lines.ts';
import type { Near } from './known/known-error.ts';

/** Returns the named captures of the lines around, or null if a required line is missing. */
export function readAround(
  wanted: readonly Near[],
  lines: readonly FailingLine[],
  index: number,
): Record<string, string | undefined> | null {
  const captured: Record<string, string | undefined> = {};
  for (const near of wanted) {
    const match = lookFor(near, lines, index);
    if (!match && near.required) return null;
    for (const [name, value] of Object.entries(match?.groups ?? {})) captured[name] ??= value;
  }
  return captured;
}

function lookFor({ where, within, pattern, takes, until }: Near, lines: readonly FailingLine[], index: number) {
  const around =
    where === 'below'
      ? lines.slice(index + 1, index + 1 + within)
      : lines.slice(Math.max(index - within, 0), index).reverse();
  let found: RegExpExecArray | null = null;
  for (const { text } of around) {
    if (until?.test(text)) break;
    const match = pattern.exec(text);
    if (match) found = match;
    if (match && takes !== 'furthest') break;
  }
  return found;
}
