import 'vitest';

declare module 'vitest' {
  /** What global.ts provides, for `inject`. */
  export interface ProvidedContext {
    /** A server that answers as no store should. */
    oddServer: string;
  }
}
