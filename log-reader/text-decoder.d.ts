/** Declares the only platform API that the log reader needs, as workerd and Node both have it. */
declare class TextDecoder {
  constructor(label?: string, options?: { ignoreBOM?: boolean; fatal?: boolean });
  decode(bytes?: Uint8Array, options?: { stream?: boolean }): string;
}
