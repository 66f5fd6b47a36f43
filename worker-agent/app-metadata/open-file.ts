/** Reads parts of the one file that this process was given as an open descriptor. */
import { fstatSync, readSync } from 'node:fs';
import { type Budget, Unreadable } from './budget.ts';

export interface OpenFile {
  readonly size: number;
  /** @throws Unreadable for a part that does not lie in the file */
  read(offset: number, length: number): Buffer;
}

export function openFile(descriptor: number, budget: Budget): OpenFile {
  const { size } = fstatSync(descriptor);
  return {
    size,
    read(offset, length) {
      if (!Number.isSafeInteger(offset) || offset < 0 || length < 0 || offset + length > size)
        throw new Unreadable('it is cut off, or damaged');
      budget.spend(length);
      const bytes = Buffer.alloc(length);
      for (let done = 0; done < length; ) {
        const read = readSync(descriptor, bytes, done, length - done, offset + done);
        if (read === 0) throw new Unreadable('it is cut off');
        done += read;
      }
      return bytes;
    },
  };
}
