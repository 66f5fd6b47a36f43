/** Makes sizes, times and tables for people. Pure. */
import stringWidth, { type TruncationOptions } from 'fast-string-truncated-width';
import { printable } from '../client/printable.ts';

export const PLATFORM_NAMES = { ios: 'iOS', android: 'Android' } as const;

/** Such as `4.2 kB`. */
export function size(sizeBytes: number): string {
  let value = sizeBytes;
  for (const unit of ['B', 'kB', 'MB']) {
    if (value < 999.5) return `${unit === 'B' ? value : value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} GB`;
}

const UNITS = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
] as const;

/** The two largest units, such as `3 min 20 s`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const first = UNITS.findIndex(([, length]) => seconds >= length);
  if (first === -1) return '0 s';
  const [unit, length] = UNITS[first]!;
  const [smaller, smallerLength] = UNITS[first + 1] ?? [null, 1];
  const rest = Math.floor((seconds % length) / smallerLength);
  return `${Math.floor(seconds / length)} ${unit}${smaller && rest > 0 ? ` ${rest} ${smaller}` : ''}`;
}

/** Such as `5 min ago`. */
export const ago = (time: string, now: number): string => `${age(time, now)} ago`;

/** Such as `5 min`, in one unit. */
export function age(time: string, now: number): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(time)) / 1000));
  const [unit, length] = UNITS.find((one) => seconds >= one[1]) ?? ['s', 1];
  return `${Math.floor(seconds / length)} ${unit}`;
}

/** Such as `2026-11-29 14:03 UTC`. */
export const moment = (time: string): string => `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

/** How many columns the text takes in a terminal. */
export const widthOf = (text: string): number => stringWidth(text).width;

/** Cut off to so many columns, with `…` if something is missing. */
export function cut(text: string, columns: number): string {
  if (columns <= 0) return '';
  const options: TruncationOptions = { limit: columns, ellipsis: '…', ellipsisWidth: 1 };
  const { index, ellipsed } = stringWidth(text, options);
  if (!ellipsed) return text.slice(0, index);
  // After a letter such as `Ā` the library takes one character too many.
  let end = index;
  while (end > 0 && widthOf(text.slice(0, end)) >= columns) end--;
  return `${text.slice(0, end).replace(/\p{Cs}$/u, '')}…`;
}

/** The width of the terminal. Without a terminal, nothing is cut off. */
export const columnsOf = (stream: { columns?: number }): number => stream.columns ?? Number.POSITIVE_INFINITY;

/**
 * Rows below each other, each made printable and cut off at `columns`. A cell is as wide as the widest of its
 * column, and at most 40 columns, except for the last.
 */
export function table(rows: readonly (readonly string[])[], columns: number): string {
  const cells = rows.map((row) =>
    row.map((cell, index) => {
      const clean = printable(cell);
      return index < row.length - 1 ? cut(clean, CELL_MAX) : clean;
    }),
  );
  const widths = (cells[0] ?? []).map((_, index) => Math.max(...cells.map((row) => widthOf(row[index] ?? ''))));
  const padded = cells.map((row) =>
    row.map((cell, index) => (index < row.length - 1 ? cell + ' '.repeat(widths[index]! - widthOf(cell)) : cell)),
  );
  return padded.map((row) => `${cut(row.join('  '), columns).trimEnd()}\n`).join('');
}

const CELL_MAX = 40;

/** The first row is the head. A column with nothing below its head is left out. */
export function withoutEmptyColumns([head = [], ...rows]: readonly (readonly string[])[]): string[][] {
  const isKept = (_: string, index: number) => rows.some((row) => row[index] !== '');
  return [head, ...rows].map((row) => row.filter(isKept));
}

/** Such as `1 build` and `3 builds`. */
export const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`;
