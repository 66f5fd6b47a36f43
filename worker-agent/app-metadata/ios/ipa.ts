/** Reads an .ipa: a zip archive with the app in `Payload/`. */
import { type Budget, Unreadable } from '../budget.ts';
import type { OpenFile } from '../open-file.ts';
import type { Said } from '../said.ts';
import { openZip } from '../zip.ts';
import { readIosApp } from './ios-app.ts';

const INFO = /^Payload\/[^/]+\.app\/Info\.plist$/;

export function readIpa(file: OpenFile, budget: Budget): Said | null {
  const zip = openZip(file, budget);
  const names = new Set(zip.names());
  const info = [...names].find((name) => INFO.test(name));
  if (info === undefined) throw new Unreadable('it contains no app');
  const root = info.slice(0, -'Info.plist'.length);
  const folder = {
    *paths() {
      for (const name of names) if (name.startsWith(root)) yield name.slice(root.length);
    },
    has: (path: string) => names.has(root + path),
    read: (path: string, maxBytes: number) => zip.read(root + path, maxBytes),
  };
  return readIosApp(folder, budget);
}
