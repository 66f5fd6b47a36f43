import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { expectedTable, measuredText, withSection } from '../../../local/chaos/document.ts';
import { CHAOS_TIMEOUTS, HEALTHY_SILENCE_MS } from '../../../local/chaos/faults/fault.ts';
import { summarise } from '../../../local/chaos/summary.ts';

const document = await readFile(new URL('../../../docs/reliability.md', import.meta.url), 'utf8');

test('docs/reliability.md has every fault with the outcome that the judge expects', () => {
  expect(withSection(document, 'expected', expectedTable())).toBe(document);
});

test('the figures in its text are those of the code', () => {
  const text = document.replaceAll(/\s+/g, ' ');
  const { heartbeatTimeoutMs, workerTimeoutMs, noOutputTimeoutMs } = CHAOS_TIMEOUTS;
  expect(text).toContain(`${heartbeatTimeoutMs / 1_000} s for the VM, ${workerTimeoutMs / 1_000} s for the Mac`);
  expect(text).toContain(`print nothing for ${Math.round(HEALTHY_SILENCE_MS / 1_000)} s`);
  expect(text).toContain(`their limit of ${noOutputTimeoutMs / 1_000} s`);
});

test('what was measured is written with its command, and says what was not kept', () => {
  const summary = summarise(
    [
      {
        ...{ number: 7, buildId: 'b_7', kind: 'frozen', missed: false, endings: ['vm_silent'], causes: ['unknown'] },
        ...{
          verdictRight: true,
          causeRight: false,
          falseKills: 0,
          stuck: false,
          lostLogBytes: 0,
          unsealedLogs: 0,
          lostArtifacts: 0,
        },
        ...{ leakedVms: [], latenessMs: [20], succeeded: false, complaints: ['cause unknown | a\nb'] },
      },
    ],
    {
      ...{ command: 'npm run chaos -- --seed 3', seed: 3, workers: 2, durationMs: 60_000 },
      ...{ startedAt: '2026-01-01T00:00:00.000Z', planned: { builds: 2, faults: 1 } },
      machine: { cpus: 2, model: 'a processor', memoryGb: 8, platform: 'linux', node: 'v24' },
      ...{
        load: { mean: 1, max: 2 },
        left: { vms: [], processes: [] },
        wrongLoads: null,
        outages: 0,
        doctorRuns: 0,
        problems: [],
      },
    },
  );
  const text = measuredText(summary);
  expect(text).toContain('npm run chaos -- --seed 3');
  expect(text).toContain('2 builds were planned');
  expect(text).toContain('| the right cause of at least 99.5 % of all verdicts | 0.00 % (0 of 1) | **no** |');
  expect(text).toContain('| frozen | 1 | vm_silent 1 | 1 of 1 | 0 of 1 |');
  expect(text).toContain('- build 7 (frozen): cause unknown a b');
  expect(withSection(document, 'measured', text)).toContain(text);
  expect(() => withSection(document, 'nothing', text)).toThrow('<!-- nothing -->');
});
