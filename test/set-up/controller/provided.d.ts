import 'vitest';

declare module 'vitest' {
  /** The values that global.ts provides, for `inject`. */
  export interface ProvidedContext {
    /** The address at which a test file asks for the shared controller. */
    sharedController: string;
  }
}
