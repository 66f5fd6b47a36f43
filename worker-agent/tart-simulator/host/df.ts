/** Prints the simulated disk as macOS's df prints a volume. Pure, except for reading the disk. */
import { freeBytes, readDisk } from '../home/simulated-disk.ts';

const UNITS = [
  { option: 'k', bytes: 1024, head: '1024-blocks' },
  { option: 'm', bytes: 1024 ** 2, head: '1M-blocks' },
  { option: 'g', bytes: 1024 ** 3, head: '1G-blocks' },
] as const;
const DEFAULT_UNIT = { bytes: 512, head: '512-blocks' };

export function df(tartHome: string, words: readonly string[]): string {
  const options = words.filter((word) => word.startsWith('-')).join('');
  const unit = UNITS.find(({ option }) => options.includes(option)) ?? DEFAULT_UNIT;
  const total = readDisk(tartHome)?.totalBytes ?? 0;
  const free = freeBytes(tartHome);
  const [size, used, available] = [total, total - free, free].map((bytes) => String(Math.floor(bytes / unit.bytes)));
  const capacity = `${Math.ceil((100 * (total - free)) / total)}%`;
  const inodes = options.includes('P')
    ? [[], []]
    : [
        ['iused', 'ifree', '%iused'],
        ['404475', '605468760', '0%'],
      ];
  const rows = [
    ['Filesystem', unit.head, 'Used', 'Available', 'Capacity', ...inodes[0]!, 'Mounted on'],
    ['/dev/disk3s5', size, used, available, capacity, ...inodes[1]!, '/System/Volumes/Data'],
  ] as string[][];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join(' ')
        .trimEnd(),
    )
    .join('\n');
}
