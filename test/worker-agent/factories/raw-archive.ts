/** Makes tar archives entry by entry, also such as no tar would make. */
import { Header } from 'tar';

export interface Entry {
  path: string;
  type?:
    | 'TapeVolumeHeader'
    | 'ExtendedHeader'
    | 'File'
    | 'Directory'
    | 'SymbolicLink'
    | 'Link'
    | 'CharacterDevice'
    | 'BlockDevice'
    | 'FIFO';
  linkpath?: string;
  body?: string | Buffer;
  /** The size in the header, instead of the body's own. */
  sizeSaid?: number;
}

export function archiveOf(entries: Entry[]): Buffer {
  const blocks = entries.flatMap(({ path, type = 'File', linkpath, body: content = '', sizeSaid }) => {
    const body = Buffer.from(content);
    const header = new Header({ path, type, linkpath, size: sizeSaid ?? body.length, mode: 0o644, mtime: new Date(0) });
    const block = Buffer.alloc(512);
    header.encode(block, 0);
    return [block, Buffer.concat([body, Buffer.alloc((512 - (body.length % 512)) % 512)])];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** The record of a pax header: its length counts itself. */
export function pax(name: string, value: string): Entry {
  const rest = ` ${name}=${value}\n`;
  const length = [1, 2, 3, 4]
    .map((digits) => digits + rest.length)
    .find((sum, index) => String(sum).length === index + 1)!;
  return { path: 'PaxHeader/fine', type: 'ExtendedHeader', body: `${length}${rest}` };
}

export const link = (path: string, linkpath: string): Entry => ({ path, type: 'SymbolicLink', linkpath });
