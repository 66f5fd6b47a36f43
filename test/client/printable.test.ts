import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { printable } from '../../client/printable.ts';
import { createEventPrinter } from '../../worker-agent/agent/event-printer.ts';
import { describe as statusOf } from '../../worker-agent/commands/status.ts';
import type { AgentEvent } from '../../worker-agent/events.ts';

/** Texts that a build may use for its phase, its artifact or its last words. */
const HOSTILE: [what: string, text: string][] = [
  ['clears the screen', 'a\x1b[2J\x1b[Hb'],
  ['sets the title', 'a\x1b]0;owned\x07b'],
  ['writes to the clipboard', 'a\x1b]52;c;cm0gLXJmIH4=\x1b\\b'],
  ['uses the 8-bit control codes', 'a\x9b2J\x9d0;owned\x9c\x90q\x9cb'],
  ['begins a line of its own', 'a\n12:00:00   b#1 succeeded\r\x0b\x0c\x85b'],
  ['begins a line as Unicode has it', 'a\u2028b\u2029c'],
  ['turns the line around', 'a\u202egpj.exe\u2066b'],
  ['rings and erases', 'a\x07\x08\x7fb\0'],
];
const CONTROLS = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

test.for(HOSTILE)('a text that %s is shown as one harmless line', ([, text]) => {
  const shown = printable(text);
  expect(shown).not.toMatch(CONTROLS);
  expect(shown.startsWith('a')).toBe(true);
  const event = { type: 'beat', buildId: 'b1', attempt: 1, accepted: true, stage: 'building', percent: 1, phase: text };
  const written: string[] = [];
  const log = createEventPrinter({ json: false, level: 'debug', out: { write: (line) => written.push(line) } });
  log(event as AgentEvent);
  expect(written).toHaveLength(1);
  expect(written[0]!.slice(0, -1)).not.toMatch(CONTROLS);
});

test('letters, marks and emoji of all languages are shown as they are', () => {
  for (const text of ['Überprüfung läuft', '編譯中', 'עברית', 'family 👨‍👩‍👧', 'a\u0301'])
    expect(printable(text)).toBe(text);
});

test('status shows what a build said of itself in the lines that are meant for it', () => {
  const at = new Date(0).toISOString();
  const slot = {
    ...{ buildId: 'b1', attempt: 1, vmName: 'vm', stage: 'building' as const, step: 'command', percent: 5 },
    ...{ beatAt: at, vmBeatAt: at, result: null, keptUntil: null, vmGone: false },
    phase: 'pods\x1b[2J\nagent       stopped',
    lastError: 'no\x9b2J\nway',
  };
  const agent = {
    ...{ pid: 1, writtenAt: at, startedAt: at, workerId: 'w', controllerUrl: 'http://c', slots: 1, state: 'running' },
    ...{ lastError: null, lastFailure: null, builds: [slot] },
  };
  const controller = { reachable: true, message: '\x1b]0;x\x07fine', activeAttempts: [] };
  const shown = statusOf({ running: true, agent, kept: [], controller, images: [] }, 'http://c', 1_000);
  expect(shown).toBe(stripVTControlCharacters(shown));
  expect(shown.split('\n').filter((line) => line.startsWith('agent '))).toHaveLength(1);
  expect(shown).toContain('pods agent       stopped');
});
