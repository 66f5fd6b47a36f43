/**
 * Lets the output of a VM through to the terminal of a person: text, line breaks, tabs, backspaces, the bell,
 * and colours. It drops everything else that a terminal would obey, such as orders that set the clipboard or
 * a title, ask the terminal for an answer, move the cursor, or reverse a line. Pure.
 *
 * Invariant: the output depends only on the bytes, and not on the pieces in which they arrive. A colour is
 * printed as a whole or not at all.
 */
import { UNPRINTABLE } from '#contract';

/** The place of the filter: in plain text, or in a part of an order to the terminal. */
type State = 'text' | 'escape' | 'csi' | 'string' | 'string-escape' | 'charset';

const ESC = '\x1b';
const BEL = '\x07';
/** CAN and SUB end any order. */
const ABORTS = '\x18\x1a';
const KEPT_CONTROLS = '\x07\b\t\n\r';
const IS_UNPRINTABLE = new RegExp(`[${UNPRINTABLE}]`, 'u');
/** ESC and one of these begin a text for the terminal itself: DCS, SOS, OSC, PM and APC. */
const STRING_BEGINS = 'PX]^_';
/** The same beginnings as one character each. CSI has one of its own, too. */
const STRING_BEGINS_C1 = '\x90\x98\x9d\x9e\x9f';
const CSI_C1 = '\x9b';
/** Most of a log. It is passed on as a whole, because to check each character takes time. */
const PLAIN = /[\t\n\x20-\x7e]+/y;
/** Only numbers, because with a private mark before them, `m` changes how the terminal sends keys. */
const COLOUR_PARAMETERS = /^[0-9;:]*$/;
/** No program sends a longer order. */
const ORDER_MAX = 64;
/**
 * After this many characters of a string without an end, text is printed again, so that a stray beginning
 * hides little.
 */
const STRING_MAX = 4_096;

export const RESET_COLOURS = `${ESC}[0m`;

export class TerminalFilter {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #state: State = 'text';
  #order = '';
  #stringLength = 0;

  /** The part of these bytes that may be printed. */
  push(bytes: Uint8Array): string {
    return this.pushText(this.#decoder.decode(bytes, { stream: true }));
  }

  /** As {@link push}, for text that is decoded already. */
  pushText(text: string): string {
    let out = '';
    for (let at = 0; at < text.length; ) {
      const plain = this.#state === 'text' ? plainLength(text, at) : 0;
      if (plain > 0) out += text.slice(at, at + plain);
      at += plain;
      if (at === text.length) break;
      const character = String.fromCodePoint(text.codePointAt(at)!);
      out += this.#take(character);
      at += character.length;
    }
    return out;
  }

  /** The rest of the text, and an order that ends all colours. */
  end(): string {
    const left = this.pushText(this.#decoder.decode());
    this.#state = 'text';
    return left + RESET_COLOURS;
  }

  #take(character: string): string {
    if (ABORTS.includes(character)) return this.#enter('text');
    // In a string, ESC may be the beginning of its end. Everywhere else it begins a new order.
    if (character === ESC) return this.#enter(this.#state === 'string' ? 'string-escape' : 'escape');
    switch (this.#state) {
      case 'text':
        return this.#text(character);
      case 'escape':
        return this.#afterEscape(character);
      case 'csi':
        return this.#inOrder(character);
      case 'charset':
        return this.#enter('text');
      case 'string-escape':
        return character === '\\' ? this.#enter('text') : this.#afterEscape(character);
      case 'string':
        return this.#inString(character);
    }
  }

  #enter(state: State): string {
    this.#state = state;
    this.#order = '';
    if (state === 'string') this.#stringLength = 0;
    return '';
  }

  #text(character: string): string {
    if (character === CSI_C1) return this.#enter('csi');
    if (STRING_BEGINS_C1.includes(character)) return this.#enter('string');
    return KEPT_CONTROLS.includes(character) || !IS_UNPRINTABLE.test(character) ? character : '';
  }

  #afterEscape(character: string): string {
    if (character === '[') return this.#enter('csi');
    if (STRING_BEGINS.includes(character)) return this.#enter('string');
    // ESC, some characters of this range, and one more.
    if (/[ -/]/.test(character)) return this.#enter('charset');
    this.#enter('text');
    return KEPT_CONTROLS.includes(character) ? character : '';
  }

  #inOrder(character: string): string {
    // A terminal obeys control characters in the middle of an order.
    if (KEPT_CONTROLS.includes(character)) return character;
    if (/[ -?]/.test(character) && this.#order.length < ORDER_MAX) {
      this.#order += character;
      return '';
    }
    const isColour = character === 'm' && COLOUR_PARAMETERS.test(this.#order);
    const order = `${ESC}[${this.#order}m`;
    this.#enter('text');
    return isColour ? order : '';
  }

  #inString(character: string): string {
    this.#stringLength++;
    if (character === BEL || character === '\x9c' || this.#stringLength > STRING_MAX) this.#enter('text');
    return '';
  }
}

function plainLength(text: string, at: number): number {
  PLAIN.lastIndex = at;
  return PLAIN.test(text) ? PLAIN.lastIndex - at : 0;
}
