/** Does `tart list`. The order of keys in its JSON changes from call to call, as with Foundation. */
import type { Arguments } from '../arguments.ts';
import type { Command } from '../command.ts';
import { UsageError, vmVanished } from '../failure.ts';
import { readFaults } from '../home/faults.ts';
import { readSettings } from '../home/settings.ts';
import { readConfig } from '../home/vm-config.ts';
import { accessedAt, GB_BYTES, listVms, sizeOf, stateOf, type Vm } from '../home/vms.ts';
import { foundationJson } from '../output.ts';

export const list: Command = {
  name: 'list',
  overview: 'List created VMs',
  positionals: [],
  options: [
    {
      names: ['--source'],
      value: 'source',
      help: 'Only display VMs from the specified source (e.g. --source local, --source oci).',
    },
    { names: ['--format'], value: 'format', oneOf: ['text', 'json'], help: 'Output format: text or json' },
    { names: ['--quiet', '-q'], help: 'Only display VM names.' },
  ],
  validate(args) {
    const source = args.value('--source');
    if (source !== undefined && source !== 'local' && source !== 'oci')
      throw new UsageError(`'${source}' is not a valid <source>`);
  },
  run(args, tartHome) {
    try {
      process.stdout.write(listing(args, tartHome));
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? vmVanished() : error;
    }
  },
};

function listing(args: Arguments, tartHome: string): string {
  const source = args.value('--source');
  const vms = listVms(tartHome).filter((vm) => !source || vm.source.toLowerCase() === source);
  if (args.has('--quiet')) return vms.map((vm) => `${vm.name}\n`).join('');
  if (args.value('--format') === 'json') return `${foundationJson(vms.map((vm) => row(vm, tartHome)))}\n`;
  return `${table(vms)}\n`;
}

function row(vm: Vm, tartHome: string): Record<string, unknown> {
  const { length, allocated } = sizeOf(vm);
  const state = stateOf(vm);
  const size = Math.floor(allocated / GB_BYTES);
  const isOld = readSettings(tartHome).listFormat === '2.30';
  // Since 2.39 Tart does not read the disk of a running VM of that format.
  const isUnknown =
    state === 'running' && (readFaults(vm.folder).has('disk-null') || readConfig(vm).diskFormat === 'asif');
  const disk = isUnknown && !isOld ? null : Math.floor(length / GB_BYTES);
  const common = { Source: vm.source, Name: vm.name, Disk: disk, Size: size };
  const running = { Running: state === 'running', State: state };
  if (isOld) return { ...common, SizeOnDisk: size, ...running };
  return {
    ...common,
    Accessed: accessedAt(vm)
      .toISOString()
      .replace(/\.\d+Z$/, 'Z'),
    ...running,
  };
}

function table(vms: readonly Vm[]): string {
  if (vms.length === 0) return '';
  const rows = vms.map((vm) => {
    const { length, allocated } = sizeOf(vm);
    return [vm.source, vm.name, inWords(length), inWords(allocated), ago(accessedAt(vm)), stateOf(vm)];
  });
  const cells = [['Source', 'Name', 'Disk', 'Size', 'Accessed', 'State'], ...rows].map((line) => line.map(String));
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)));
  return cells
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column]!)).join(' '))
    .join('\n')
    .trim();
}

const inWords = (bytes: number) => `${Math.round((10 * bytes) / GB_BYTES) / 10} GB`;

function ago(then: Date): string {
  const seconds = Math.max(0, Math.floor((Date.now() - then.getTime()) / 1000));
  const units = [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
  ] as const;
  for (const [unit, length] of units) {
    const count = Math.floor(seconds / length);
    if (count > 0) return `${count} ${unit}${count === 1 ? '' : 's'} ago`;
  }
  return `${seconds} second${seconds === 1 ? '' : 's'} ago`;
}
