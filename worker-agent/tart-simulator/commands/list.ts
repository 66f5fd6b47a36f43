/** Does `tart list`. The order of keys in its JSON changes from call to call, as with Foundation. */
import type { Command } from '../command.ts';
import { UsageError } from '../failure.ts';
import { readSettings } from '../home/settings.ts';
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
    const source = args.value('--source');
    const vms = listVms(tartHome).filter((vm) => !source || vm.source.toLowerCase() === source);
    if (args.has('--quiet')) return void process.stdout.write(vms.map((vm) => `${vm.name}\n`).join(''));
    if (args.value('--format') === 'json') console.log(foundationJson(vms.map((vm) => row(vm, tartHome))));
    else console.log(table(vms));
  },
};

function row(vm: Vm, tartHome: string): Record<string, unknown> {
  const { length, allocated } = sizeOf(vm);
  const state = stateOf(vm);
  const size = Math.floor(allocated / GB_BYTES);
  const common = { Source: vm.source, Name: vm.name, Disk: Math.floor(length / GB_BYTES), Size: size };
  const running = { Running: state === 'running', State: state };
  if (readSettings(tartHome).listFormat === '2.30') return { ...common, SizeOnDisk: size, ...running };
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
