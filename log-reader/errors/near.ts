/** Reads the lines around one that tells: one header may have several bodies. Pure. */
import type { FailingLine } from './failing-lines.ts';
import type { Near } from './known/known-error.ts';

/** What the lines around capture by name; null if one that is required is not there. */
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
