/**
 * Names the characters that a line for people does not have: control characters, separators of lines and
 * paragraphs, and marks that turn the text beside them around. Use it between the brackets of a regular
 * expression with the flag `u`.
 */
export const UNPRINTABLE = String.raw`\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069`;
