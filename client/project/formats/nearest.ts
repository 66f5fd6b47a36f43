/** Finds the known name that a misspelt one is nearest to. Pure. */

/** One letter may differ for each three letters of the name. */
const LETTERS_PER_SLIP = 3;
const NAME_MAX = 64;

/** Null: none is near. */
export function nearestTo(name: string, known: Iterable<string>): string | null {
  if (name.length > NAME_MAX) return null;
  let nearest: string | null = null;
  let least = Math.floor(name.length / LETTERS_PER_SLIP) + 1;
  for (const one of known) {
    const slips = distance(name.toLowerCase(), one.toLowerCase());
    if (slips < least) [nearest, least] = [one, slips];
  }
  return nearest;
}

/** The number of letters that are added, removed or replaced (Levenshtein distance). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1];
    for (let at = 0; at < to.length; at++)
      next.push(Math.min(row[at]! + (letter === to[at] ? 0 : 1), row[at + 1]! + 1, next[at]! + 1));
    row = next;
  }
  return row[to.length]!;
}
