/** Does `tart set`, also while the VM runs. Without `--display-refit` it resets that field, as Tart does. */
import { randomBytes } from 'node:crypto';
import type { Command } from '../command.ts';
import { VM_NAME } from '../command.ts';
import { RuntimeError, UsageError } from '../failure.ts';
import { randomMac, readConfig, writeConfig } from '../home/vm-config.ts';
import { setDiskSize } from '../home/vm-store.ts';
import { GB_BYTES, openVm, sizeOf, touch } from '../home/vms.ts';

const DISPLAY = /^(\d+)x(\d+)(pt|px)?$/;

export const set: Command = {
  name: 'set',
  overview: "Modify VM's configuration",
  positionals: [VM_NAME],
  options: [
    { names: ['--cpu'], value: 'cpu', max: 65_535, help: 'Number of VM CPUs' },
    { names: ['--memory'], value: 'memory', max: 2 ** 32, help: 'VM memory size in megabytes' },
    { names: ['--display'], value: 'display', help: 'VM display resolution in a format of WIDTHxHEIGHT[pt|px]' },
    { names: ['--display-refit'], help: 'Whether to automatically reconfigure the display' },
    { names: ['--no-display-refit'], help: 'Whether to automatically reconfigure the display' },
    { names: ['--random-mac'], help: 'Generate a new random MAC address for the VM.' },
    { names: ['--random-serial'], help: 'Generate a new random serial number' },
    { names: ['--disk'], value: 'disk', help: 'Replace the disk contents with the disk contents at path.' },
    {
      names: ['--disk-size'],
      value: 'disk-size',
      max: 65_535,
      help: 'Resize the VMs disk to the specified size in GB',
    },
  ],
  validate(args) {
    const display = args.value('--display');
    if (display !== undefined && !DISPLAY.test(display))
      throw new UsageError(`The value '${display}' is invalid for '--display <display>'`);
    if (args.has('--disk'))
      throw new UsageError('the Tart simulator has no disk contents to replace: --disk is not simulated');
  },
  run(args, tartHome) {
    const vm = openVm(tartHome, args.word(0));
    const config = readConfig(vm);
    if (args.has('--cpu')) {
      const count = args.number('--cpu', config.cpuCount);
      if (count < config.cpuCountMin)
        throw new Error(
          `LessThanMinimalResourcesError: VM should have ${config.cpuCountMin} CPU cores at minimum (requested ${count})`,
        );
      config.cpuCount = count;
    }
    if (args.has('--memory')) {
      const bytes = args.number('--memory', 0) * 1024 ** 2;
      if (bytes < config.memorySizeMin)
        throw new Error(
          `LessThanMinimalResourcesError: VM should have ${config.memorySizeMin} bytes of memory at minimum (requested ${bytes})`,
        );
      config.memorySize = bytes;
    }
    const [, width, height, unit] = DISPLAY.exec(args.value('--display') ?? '') ?? [];
    if (width && height)
      config.display = { width: Number(width), height: Number(height), ...(unit && { unit: unit as 'pt' | 'px' }) };
    const refit = args.has('--display-refit') || (args.has('--no-display-refit') ? false : undefined);
    config.displayRefit = refit;
    if (args.has('--random-mac')) config.macAddress = randomMac();
    if (args.has('--random-serial')) config.ecid = randomBytes(8).toString('base64');
    if (args.has('--disk-size')) {
      const [wanted, current] = [args.number('--disk-size', 0), sizeOf(vm).length / GB_BYTES];
      if (wanted < Math.floor(current))
        throw new RuntimeError(
          `new disk size of ${wanted} GB should be larger than the current disk size of ${Math.floor(current)} GB`,
        );
      setDiskSize(vm, wanted * GB_BYTES);
    }
    writeConfig(vm, config);
    touch(vm);
  },
};
