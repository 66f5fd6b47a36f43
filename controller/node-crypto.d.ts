/** The one thing of Node that the controller uses: a SHA-256 that takes its input in pieces, in native code. */
declare module 'node:crypto' {
  interface Hash {
    update(bytes: Uint8Array): Hash;
    digest(encoding: 'hex'): string;
  }
  export function createHash(algorithm: 'sha256'): Hash;
}
