/** Turns bytes into text and back, and computes digests. Pure. */
/// <reference lib="esnext.typedarrays" />

const utf8 = new TextEncoder();

export const toBytes = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(utf8.encode(text));

export const toBase64Url = (bytes: Uint8Array): string => bytes.toBase64({ alphabet: 'base64url', omitPadding: true });

/** Null if the text is not base64url. */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.fromBase64(text, { alphabet: 'base64url' });
  } catch {
    return null;
  }
}

export const sha256 = async (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));

/** The SHA-256 of the text's UTF-8, in lower-case hex. */
export const sha256Hex = async (text: string): Promise<string> => (await sha256(toBytes(text))).toHex();

export const randomText = (byteCount: number): string => toBase64Url(crypto.getRandomValues(new Uint8Array(byteCount)));
