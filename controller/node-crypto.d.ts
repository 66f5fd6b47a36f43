/**
 * Declares the only part of Node that the controller uses: a native SHA-256 that takes its input in pieces.
 */
declare module 'node:crypto' {
  interface Hash {
    update(bytes: Uint8Array): Hash;
    digest(encoding: 'hex'): string;
  }
  export function createHash(algorithm: 'sha256'): Hash;
}
