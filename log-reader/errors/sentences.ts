/** Fills the captured parts of the log into the sentences of a known error. Pure. */

export interface Captured {
  numbered: readonly (string | undefined)[];
  named: Readonly<Record<string, string | undefined>>;
}

const CAPTURE_CHARS_MAX = 200;
/** `$1`, `$<name>`, and `$<one|other>` for the one of the two that was captured. */
const PLACE = /\$(?:(\d)|<([\w|]+)>)/g;
/** A part in square brackets. It is left out if one of its captures is missing. */
const OPTIONAL = /\[([^[\]]*)\]/g;

export function fill(template: string, { numbered, named }: Captured): string {
  const captured = (index: string | undefined, name: string | undefined) => {
    const names = (name ?? '').split('|');
    const value =
      index === undefined
        ? names.map((one) => named[one] ?? numbered[Number(one)]).find(Boolean)
        : numbered[Number(index)];
    return plain(value ?? '').slice(0, CAPTURE_CHARS_MAX);
  };
  const withOptional = template.replace(OPTIONAL, (_, part: string) =>
    [...part.matchAll(PLACE)].every(([, index, name]) => captured(index, name) !== '') ? part : '',
  );
  return withOptional
    .replace(PLACE, (_, index?: string, name?: string) => captured(index, name))
    .replace(/ {2,}/g, ' ')
    .replace(/([.!?])\.$/, '$1')
    .trim();
}

/** Xcode writes a space in a name as `\ `. */
const plain = (value: string): string =>
  value
    .replace(/\\([ ,()[\]'"&])/g, '$1')
    .replace(/[\s:]+$/, '')
    .trim();
