import 'vitest';

declare module 'vitest' {
  /** The values that global.ts provides, for `inject`. */
  export interface ProvidedContext {
    /** A server that answers as no store should. */
    oddServer: string;
    /** The stand-in of App Store Connect. */
    appStore: { url: string };
    /** The stand-in of Google Play, and the server beside it that nothing may reach. */
    play: { url: string; tokenUrl: string; strangerUrl: string };
  }
}
