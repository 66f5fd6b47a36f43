/**
 * Bounds the memory that one reading of an artifact may use.
 *
 * Invariant: all buffers that a reading makes stay below one sum, whether or not they were freed. V8's own
 * limit bounds the rest (app-child.ts).
 */

/** The file has another form, or is larger than any real one. */
export class Unreadable extends Error {
  override name = 'Unreadable';
}

/** For a file in which an app describes itself: Info.plist, the manifest, the profile. */
export const TEXT_MAX_BYTES = 1024 * 1024;
/** A large app of React Native has about 3 MiB of strings and names of files. */
export const RESOURCES_MAX_BYTES = 16 * 1024 * 1024;
export const ICON_FILE_MAX_BYTES = 1024 * 1024;
export const ENTRIES_MAX = 100_000;

const ALL_BYTES_MAX = 96 * 1024 * 1024;

export class Budget {
  #leftBytes = ALL_BYTES_MAX;

  /** @throws Unreadable if the reading has used up its memory */
  spend(bytes: number): void {
    this.#leftBytes -= bytes;
    if (!(this.#leftBytes >= 0)) throw new Unreadable('it needs too much memory to be read');
  }
}
