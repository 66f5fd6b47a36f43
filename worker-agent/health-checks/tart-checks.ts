/**
 * Checks that this Mac has all that VMs need: the base image, processors, memory, disk and a network. To add
 * a check, add an entry.
 */
import { statfs } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { MAC_MEMORY_GB, VMS_PER_MAC_MAX, vmControllerUrl } from '../config.ts';
import { inWords } from '../mac/installation.ts';
import { controllerAddresses, ISOLATION_MEANS } from '../tart/isolation.ts';
import { GB_BYTES, inGb } from './figures.ts';
import { configOf, type HostContext, type ImageContext } from './host-context.ts';
import { fail, type HealthCheck, pass, warn } from './run-checks.ts';

/** macOS guests with fewer processors freeze now and then. */
const VM_CPUS_MIN = 4;

export const TART_CHECKS: readonly HealthCheck<HostContext>[] = [
  {
    id: 'vm_slots',
    title: 'A VM slot is free',
    why: "Apple's licence and macOS allow two macOS VMs on one Mac.",
    blocking: false,
    dependsOn: ['tart'],
    timeoutMs: 30_000,
    fix: 'Stop a VM that is not needed, or wait until its build has ended. If no VM runs and starts still fail, restart the Mac.',
    async run(context, signal) {
      const listed = await context.tart().list(signal);
      if (!listed.ok) return fail(listed.message);
      const running = listed.vms.filter(({ state }) => state === 'running').map(({ name }) => name);
      const detail = `${running.length} of ${VMS_PER_MAC_MAX} running`;
      return running.length < VMS_PER_MAC_MAX ? pass(detail) : warn(`${detail}: ${running.join(', ')}`);
    },
  },
  {
    id: 'host_disk',
    title: 'Mac has free disk space',
    why: 'VMs keep their disks on the disk of the Mac, and freeze when it is full.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 5_000,
    fix: `Free some space. A clone begins small and grows with every file that its build writes. ${inWords('prune')} deletes the downloaded images that nobody has used for a week.`,
    async run(context) {
      const { minFreeDiskGb, maxConcurrentBuilds } = configOf(context);
      const { bavail, bsize } = await statfs(context.tart().home).catch(() => statfs('/'));
      const freeBytes = bavail * bsize;
      const detail = `${inGb(freeBytes)} free`;
      if (freeBytes < minFreeDiskGb * GB_BYTES) return fail(`${detail}, ${minFreeDiskGb} GB needed`);
      const forAllGb = minFreeDiskGb * maxConcurrentBuilds;
      if (freeBytes >= forAllGb * GB_BYTES) return pass(detail);
      return warn(`${detail}, ${forAllGb} GB needed for ${maxConcurrentBuilds} builds at a time`);
    },
  },
  {
    id: 'isolation',
    title: 'Networks that VMs may reach',
    why: 'Builds run code of others. Choose knowingly which networks that code may reach.',
    blocking: false,
    dependsOn: ['config'],
    timeoutMs: 5_000,
    fix: 'Look whether this Mac resolves the name of the controller. Or set "isolation" in the config to "softnet" or "nat".',
    async run(context, signal) {
      const config = configOf(context);
      const { isolation } = config;
      if (isolation !== 'controller') return pass(ISOLATION_MEANS[isolation]);
      signal.throwIfAborted();
      const addresses = await controllerAddresses(vmControllerUrl(config));
      return pass(`${ISOLATION_MEANS.controller} (${addresses.join(', ')})`);
    },
  },
];

/** Checks the VM that the builds of an image are cloned from. */
export const SNAPSHOT_CHECKS: readonly HealthCheck<ImageContext>[] = [
  {
    id: 'base_image',
    title: 'Base image is there',
    why: 'Every build runs in a fresh clone of the base image.',
    blocking: true,
    dependsOn: ['tart'],
    timeoutMs: 30_000,
    fix: 'Run `expo-worker base-image`. If you have set up a VM yourself, shut it down and run `tart clone NAME NAME-base-snapshot`.',
    async run(context, signal) {
      const name = context.image.vm;
      const listed = await context.tart().list(signal);
      if (!listed.ok) return fail(listed.message);
      const image = listed.vms.find((vm) => vm.name === name && vm.source === 'local');
      if (!image) return fail(`tart list does not show ${name}`);
      if (image.state === 'stopped') return pass(name);
      return fail(
        `${name} is ${image.state}; its clones would start with a disk that was in use`,
        `Run \`tart stop ${name}\`.`,
      );
    },
  },
  {
    id: 'vm_cpus',
    title: 'VMs have enough processors',
    why: `macOS guests with fewer than ${VM_CPUS_MIN} virtual processors freeze now and then.`,
    blocking: false,
    dependsOn: ['base_image'],
    timeoutMs: 5_000,
    fix: `Set vmCpus to ${VM_CPUS_MIN} or more in the config.`,
    async run(context) {
      const config = configOf(context);
      const image = await context.tart().hardware(context.image.vm);
      if (!image.ok) return fail(image.message);
      const cpus = config.vmCpus ?? image.cpus;
      if (cpus === null) return pass('the base image does not say how many');
      if (cpus < VM_CPUS_MIN) return warn(`${cpus} for each VM`);
      const wanted = cpus * config.maxConcurrentBuilds;
      const has = availableParallelism();
      return wanted <= has
        ? pass(`${wanted} of ${has}`)
        : warn(`${wanted} for ${config.maxConcurrentBuilds} VM(s), and the Mac has ${has}`, FEWER_PROCESSORS);
    },
  },
  {
    id: 'host_memory',
    title: 'Mac has memory for its VMs',
    why: 'If the Mac has to swap memory to its disk, the beats of its VMs come late.',
    blocking: false,
    dependsOn: ['base_image'],
    timeoutMs: 5_000,
    fix: 'Lower vmMemoryMb or maxConcurrentBuilds in the config.',
    async run(context) {
      const config = configOf(context);
      const image = await context.tart().hardware(context.image.vm);
      if (!image.ok) return fail(image.message);
      const each = config.vmMemoryMb ? config.vmMemoryMb * 1024 ** 2 : image.memoryBytes;
      if (each === null) return pass('the base image does not say how much');
      const detail = `${inGb(each * config.maxConcurrentBuilds)} for VMs, the Mac has ${inGb(totalmem())}`;
      return each * config.maxConcurrentBuilds + MAC_MEMORY_GB * GB_BYTES <= totalmem() ? pass(detail) : warn(detail);
    },
  },
];

const FEWER_PROCESSORS =
  'Lower maxConcurrentBuilds or vmCpus in the config. Builds that share processors are slow and look stuck.';
