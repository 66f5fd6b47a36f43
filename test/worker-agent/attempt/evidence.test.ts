import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Evidence } from '#contract';
import { gatherEvidence, parseFreeMemory } from '../../../worker-agent/attempt/evidence.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

/** A host with this script as its tart. */
function host(dir: string, tart: string) {
  writeFileSync(join(dir, 'tart'), `#!/bin/sh\n${tart}\n`, { mode: 0o755 });
  mkdirSync(join(dir, 'home'));
  return {
    tart: createTart({ tartPath: join(dir, 'tart'), tartHome: join(dir, 'home') }),
    vmName: 'tartbeat-w-b-1',
    vm: null,
    unreached: null,
    key: { buildId: 'b', attempt: 1 },
    controllerUrl: 'http://127.0.0.1:1',
    stateDir: dir,
    logPath: join(dir, 'build.log'),
    runLogPath: join(dir, 'run.log'),
    monitorRestarts: 0,
    monitorStarted: false,
    sleep: null,
    controllerUnreachableMs: 0,
    maskCommand: null,
  };
}

test('a hung tart costs its own answer and the time limit, nothing else', async () => {
  using dir = temporaryDir();
  const options = host(dir.path, 'exec sleep 30');
  writeFileSync(options.logPath, Array.from({ length: 500 }, (_, index) => `line ${index}\n`).join(''));
  const startedAt = performance.now();
  // The same limit is for reading two files, which takes long where all processors are busy.
  const evidence = await gatherEvidence({ ...options, limitMs: 5_000 });
  expect(performance.now() - startedAt).toBeLessThan(20_000);
  expect(Evidence.parse(evidence)).toEqual(evidence);
  expect(evidence.vm).toBeUndefined();
  expect(evidence.hostDisk!.freeBytes).toBeGreaterThan(0);
  expect(evidence.logTail!.trimEnd().split('\n')).toHaveLength(200);
  expect(evidence.logTail).toMatch(/line 499\n$/);
});

test('what tart says of the VM, and how long this host was away', async () => {
  using dir = temporaryDir();
  const options = host(dir.path, `echo '[{"Name":"tartbeat-w-b-1","Source":"local","State":"running"}]'`);
  const evidence = await gatherEvidence({
    ...options,
    sleep: { asleepMs: 90_000, awakeMs: 2_000 },
    controllerUnreachableMs: 60_000,
    limitMs: 20_000,
  });
  expect(evidence).toMatchObject({ hostAsleepMs: 90_000, hostAwakeMs: 2_000 });
  expect(evidence).toMatchObject({ vm: 'running', controllerUnreachableMs: 60_000, logTail: '' });
});

test('a VM that tart does not show is missing', async () => {
  using dir = temporaryDir();
  const evidence = await gatherEvidence({ ...host(dir.path, `echo '[]'`), limitMs: 20_000 });
  expect(evidence.vm).toBe('missing');
});

// /proc is a disk without free space, and nobody changes that.
test.runIf(existsSync('/proc'))(
  'the fuller one of the disks with the VMs and with the state is the Mac’s',
  async () => {
    using dir = temporaryDir();
    const options = host(dir.path, `echo '[]'`);
    const freeWith = async (tartHome: string) => {
      const tart = createTart({ tartPath: join(dir.path, 'tart'), tartHome });
      return (await gatherEvidence({ ...options, tart, limitMs: 20_000 })).hostDisk!.freeBytes;
    };
    expect(await freeWith('/proc')).toBe(0);
    expect(await freeWith(join(dir.path, 'none'))).toBeGreaterThan(0);
  },
);

test('free memory is read from a Mac and from Linux', () => {
  const mac = `Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               100.
Pages active:                          200000.
Pages inactive:                            20.
Pages speculative:                          3.
`;
  expect(parseFreeMemory(mac)).toBe(123 * 16_384);
  expect(parseFreeMemory('MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:   50 kB\n')).toBe(51_200);
  expect(parseFreeMemory('nothing of the kind')).toBeNull();
});
