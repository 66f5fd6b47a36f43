/**
 * Says under which names the artifacts of a build lie on this disk. Pure.
 *
 * Invariant: each name is one of a file in the folder itself, on any system and for any artifact name. No two
 * are the same, also on a disk that ignores case.
 */
import { basename, extname } from 'node:path/posix';
import { UNPRINTABLE } from '#contract';

const NAME_MAX_BYTES = 200;
/** Devices on Windows, with any extension. */
const DEVICES = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;
/** Characters that a file system, a shell or the eye would take for something else. */
const ODD = new RegExp(`[${UNPRINTABLE}\\p{Cs}<>:"/\\\\|?*]`, 'gu');

export function localNames(artifacts: readonly string[]): Map<string, string> {
  const taken = new Set<string>();
  const names = new Map<string, string>();
  for (const artifact of artifacts) {
    // The whole path tells two files of one name apart.
    const wanted = [safe(basename(artifact)), safe(artifact.replaceAll('/', '-'))];
    const numbered = (count: number) => {
      const name = wanted[1]!;
      const end = extname(name);
      return `${name.slice(0, name.length - end.length)}-${count}${end}`;
    };
    let name = wanted.find((one) => !taken.has(folded(one)));
    for (let count = 2; name === undefined; count++)
      name = taken.has(folded(numbered(count))) ? undefined : numbered(count);
    taken.add(folded(name));
    names.set(artifact, name);
  }
  return names;
}

const folded = (name: string) => name.normalize('NFKC').toLowerCase();

function safe(name: string): string {
  const clean = shortened(
    name
      .normalize('NFC')
      .replace(ODD, '_')
      .replace(/^[-.\s]+/, '_'),
  ).replace(/[. ]+$/, '');
  return clean === '' || DEVICES.test(clean) ? `_${clean}` : clean;
}

/** Keeps the extension. */
function shortened(name: string): string {
  const end = Buffer.byteLength(extname(name)) < 20 ? extname(name) : '';
  let start = name.slice(0, name.length - end.length);
  while (Buffer.byteLength(start + end) > NAME_MAX_BYTES) start = [...start].slice(0, -1).join('');
  return start + end;
}
