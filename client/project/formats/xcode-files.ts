/**
 * Reads the plain values in files of Xcode.
 *
 * Invariant: for any content, it quickly returns a value or null.
 */
import { readOpenStep } from './openstep.ts';
import { textOf } from './text.ts';

const PROPERTY_LIST_MAX_BYTES = 256 * 1024;
/** The project of a large app has some MB. */
const XCODE_PROJECT_MAX_BYTES = 4 * 1024 * 1024;

export function readXcodeProject(bytes: Uint8Array | null): unknown {
  const text = bytes !== null && bytes.length <= XCODE_PROJECT_MAX_BYTES ? textOf(bytes) : null;
  return text === null ? null : readOpenStep(text);
}

/** A text of an Info.plist in its XML form, by the name of its key. */
export function textInPropertyList(bytes: Uint8Array | null, key: string): string | null {
  const text = bytes !== null && bytes.length <= PROPERTY_LIST_MAX_BYTES ? textOf(bytes) : null;
  const mark = `<key>${key}</key>`;
  const at = text?.indexOf(mark) ?? -1;
  if (text === null || at === -1) return null;
  // Reads only as many characters as a version or an id can have.
  const value = /^\s{0,100}<string>([^<&]{1,200})<\/string>/.exec(text.slice(at + mark.length, at + mark.length + 400));
  return value?.[1] ?? null;
}

/** A field of a dictionary itself, never an inherited one. */
export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

export const textIn = (value: unknown, name: string): string | null => {
  const field = fieldOf(value, name);
  return typeof field === 'string' && field !== '' ? field : null;
};

export const textsIn = (value: unknown, name: string): string[] => {
  const field = fieldOf(value, name);
  return Array.isArray(field) ? field.filter((one) => typeof one === 'string') : [];
};
