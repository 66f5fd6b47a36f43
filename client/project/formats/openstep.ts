/**
 * Reads the form of property list in which Xcode keeps a project: `{ name = value; list = (a, b); }`. Pure.
 *
 * Invariant: for any text, it returns a value or null, in time proportional to the length.
 */

/** A dictionary inherits no fields. */
type OpenStep = string | OpenStep[] | { [name: string]: OpenStep };

/** Xcode's own projects nest about five deep. */
const DEPTH_MAX = 40;
const SPACE = /\s*/y;
const WORD = /[^\s{}()=;,"']+/y;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' };

class Malformed extends Error {
  override name = 'Malformed';
}

export function readOpenStep(text: string): OpenStep | null {
  try {
    return new Reader(text).value(0);
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

class Reader {
  #at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): OpenStep {
    if (depth > DEPTH_MAX) throw new Malformed();
    if (this.#take('{')) return this.#dictionary(depth);
    if (this.#take('(')) return this.#list(depth);
    return this.#string();
  }

  #dictionary(depth: number): OpenStep {
    const entries: { [name: string]: OpenStep } = Object.create(null);
    while (!this.#take('}')) {
      const name = this.#string();
      this.#expect('=');
      entries[name] = this.value(depth + 1);
      this.#expect(';');
    }
    return entries;
  }

  #list(depth: number): OpenStep {
    const values: OpenStep[] = [];
    while (!this.#take(')')) {
      values.push(this.value(depth + 1));
      if (this.#take(',')) continue;
      this.#expect(')');
      break;
    }
    return values;
  }

  #string(): string {
    this.#skip();
    const quote = this.#text[this.#at];
    if (quote !== '"' && quote !== "'") {
      const word = this.#match(WORD);
      if (word === '') throw new Malformed();
      return word;
    }
    const from = ++this.#at;
    while (this.#at < this.#text.length && this.#text[this.#at] !== quote)
      this.#at += this.#text[this.#at] === '\\' ? 2 : 1;
    if (this.#at >= this.#text.length) throw new Malformed();
    const quoted = this.#text.slice(from, this.#at++);
    return quoted.replaceAll(/\\([\s\S])/g, (_, character: string) => ESCAPES[character] ?? character);
  }

  #take(character: string): boolean {
    this.#skip();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #expect(character: string): void {
    if (!this.#take(character)) throw new Malformed();
  }

  /** Skips white space and comments. */
  #skip(): void {
    for (;;) {
      this.#match(SPACE);
      if (this.#text[this.#at] !== '/') return;
      const isBlock = this.#text[this.#at + 1] === '*';
      if (!isBlock && this.#text[this.#at + 1] !== '/') return;
      const end = this.#text.indexOf(isBlock ? '*/' : '\n', this.#at + 2);
      this.#at = end === -1 ? this.#text.length : end + (isBlock ? 2 : 1);
    }
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }
}
