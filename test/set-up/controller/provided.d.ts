import 'vitest';

declare module 'vitest' {
  /** What global.ts provides, for `inject`. */
  export interface ProvidedContext {
    /** Where the controller is asked for that test files share. */
    sharedController: string;
  }
}
