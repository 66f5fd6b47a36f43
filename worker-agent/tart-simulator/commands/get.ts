/** Does `tart get`. Its `Size` is a string; that of `tart list` is a number. */
import type { Command } from '../command.ts';
import { VM_NAME } from '../command.ts';
import { readConfig } from '../home/vm-config.ts';
import { GB_BYTES, openVm, sizeOf, stateOf, touch } from '../home/vms.ts';
import { foundationJson } from '../output.ts';

export const get: Command = {
  name: 'get',
  overview: "Get a VM's configuration",
  positionals: [VM_NAME],
  options: [{ names: ['--format'], value: 'format', oneOf: ['text', 'json'], help: 'Output format: text or json' }],
  run(args, tartHome) {
    const vm = openVm(tartHome, args.word(0));
    const config = readConfig(vm);
    const { length, allocated } = sizeOf(vm);
    const state = stateOf(vm);
    touch(vm);
    const { width, height, unit = '' } = config.display;
    const facts = {
      OS: config.os,
      CPU: config.cpuCount,
      Memory: Math.floor(config.memorySize / 1024 ** 2),
      Disk: Math.floor(length / GB_BYTES),
      DiskFormat: config.diskFormat,
      Size: (allocated / GB_BYTES).toFixed(3),
      Display: `${width}x${height}${unit}`,
      Running: state === 'running',
      State: state,
    };
    if (args.value('--format') === 'json') return void console.log(foundationJson(facts));
    const { Running: _, ...shown } = facts;
    const widths = Object.entries(shown).map(([key, value]) => Math.max(key.length, String(value).length));
    const line = (cells: unknown[]) =>
      cells
        .map((cell, column) => String(cell).padEnd(widths[column]!))
        .join(' ')
        .trim();
    console.log(`${line(Object.keys(shown))}\n${line(Object.values(shown))}`);
  },
};
