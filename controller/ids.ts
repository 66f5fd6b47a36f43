/**
 * Makes ids that sort by the time at which they were made, so that a cursor over ids is a cursor over time.
 */

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** `<prefix>_` + 9 characters of milliseconds + 10 random ones (50 bits). */
export function newId(prefix: string, now: number): string {
  let time = '';
  for (let rest = now, i = 0; i < 9; i++, rest = Math.floor(rest / 32)) time = ALPHABET[rest % 32] + time;
  const random = Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) => ALPHABET[byte % 32]).join('');
  return `${prefix}_${time}${random}`;
}
