/** Decodes the bytes of a file that people write, and shows pieces of it in a message. Pure. */
import { printable } from '../../printable.ts';

/** Null if the bytes are not UTF-8. A byte order mark is left out. */
export function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** A value from a project as a message shows it: on one line, and shortened. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = printable(typeof value === 'string' ? JSON.stringify(value.slice(0, 61)) : String(value));
  return text.length > 62 ? `${text.slice(0, 60)}…` : text;
}

/** A name from a project as a message quotes it. */
export const named = (name: string): string =>
  `\`${printable(name.length > 60 ? `${name.slice(0, 59)}…` : name).replaceAll('`', "'")}\``;

/** The first names of a list, quoted, and how many more there are. */
export function listed(names: readonly string[], atMost = 20): string {
  const more = names.length - atMost;
  return `${names.slice(0, atMost).map(named).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
