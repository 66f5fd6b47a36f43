/**
 * Reads a property list as Apple writes it into provisioning profiles. Pure.
 *
 * A profile comes from the submitter of a build, who may be a stranger. So this reads only the few elements
 * of a property list. It accepts no other XML: no entities of its own, no attributes, no comments.
 *
 * Invariant: it takes time in proportion to the text, and throws ListError for any other text.
 */
import { unescaped } from '../project/formats/xml-text.ts';

class ListError extends Error {
  override name = 'ListError';
}

export type ListValue = string | number | boolean | Date | Buffer | ListValue[] | Map<string, ListValue>;

/** Profiles have four levels. */
const DEPTH_MAX = 20;

const OPENING = '<plist version="1.0">';
const CLOSING = '</plist>';

/** One of: an opening, a closing, an empty element, an element with text. */
const ELEMENT =
  /\s*(?:<(dict|array)>|<\/(dict|array)>|<(dict|array|string|data|true|false) ?\/>|<(key|string|data|date|integer|real)>([^<]*)<\/\4>)/y;

const EMPTY: Readonly<Record<string, () => ListValue>> = {
  dict: () => new Map(),
  array: () => [],
  string: () => '',
  data: () => Buffer.alloc(0),
  true: () => true,
  false: () => false,
};

const TEXTS: Readonly<Record<string, (text: string) => ListValue>> = {
  string: unescaped,
  data: (text) => Buffer.from(text, 'base64'),
  date: (text) => new Date(text),
  integer: Number,
  real: Number,
};

export function parsePropertyList(text: string): Map<string, ListValue> {
  const from = text.indexOf(OPENING);
  const to = text.lastIndexOf(CLOSING);
  if (from < 0 || to < from) throw new ListError('no property list');
  const body = text.slice(from + OPENING.length, to).trimEnd();
  const open: Collection[] = [new Collection('array')];
  const element = new RegExp(ELEMENT);
  while (element.lastIndex < body.length) {
    const at = element.exec(body);
    if (at === null) throw new ListError('not an element of a property list');
    const [, opening, closing, empty, name, content] = at;
    const inner = open.at(-1)!;
    if (opening !== undefined) {
      if (open.length > DEPTH_MAX) throw new ListError('too deep');
      open.push(new Collection(opening));
    } else if (closing !== undefined) {
      if (open.length === 1 || inner.kind !== closing) throw new ListError('closed and not opened');
      open.pop();
      open.at(-1)!.add(inner.value());
    } else if (empty !== undefined) inner.add(EMPTY[empty]!());
    else if (name === 'key') inner.name(unescaped(content!));
    else inner.add(TEXTS[name!]!(content!));
  }
  const [whole] = open[0]!.items;
  if (open.length !== 1 || !(whole instanceof Map)) throw new ListError('no whole dictionary');
  return whole;
}

/** A dictionary or an array that is not closed yet. */
class Collection {
  readonly kind: string;
  readonly items: ListValue[] = [];
  readonly #entries = new Map<string, ListValue>();
  #key: string | null = null;

  constructor(kind: string) {
    this.kind = kind;
  }

  name(key: string): void {
    if (this.kind !== 'dict' || this.#key !== null) throw new ListError('a key where none may be');
    this.#key = key;
  }

  add(value: ListValue): void {
    if (this.kind === 'array') this.items.push(value);
    else if (this.#key === null) throw new ListError('a value without its key');
    else this.#entries.set(this.#key, value);
    this.#key = null;
  }

  value(): ListValue {
    if (this.#key !== null) throw new ListError('a key without its value');
    return this.kind === 'array' ? this.items : this.#entries;
  }
}
