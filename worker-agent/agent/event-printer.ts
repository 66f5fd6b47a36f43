/**
 * Prints the agent's events, each on one line: in words for people, or with `--json` as one JSON object.
 *
 * Invariant: each event prints as one line, whatever characters a build has put into it.
 */
import { type DestinationStream, pino } from 'pino';
import { printable } from '../../client/printable.ts';
import { type AgentEvent, type ImageChange, KEPT_END_IN_WORDS, stepInWords } from '../events.ts';

type Level = 'debug' | 'info' | 'warn' | 'error';

export interface PrinterOptions {
  json: boolean;
  level: string;
  out?: { write(text: string): unknown };
  /** Whether each line has a date, for a file that people read days later. */
  dates?: boolean;
}

export function createEventPrinter({
  json,
  level,
  out = process.stdout,
  dates = false,
}: PrinterOptions): (event: AgentEvent) => void {
  const destination: DestinationStream = {
    write: (line) => void out.write(json ? line : humanLine(JSON.parse(line), dates)),
  };
  const log = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      // No event has one of these. Should one ever have it by mistake, it is hidden.
      redact: { paths: ['apiKey', 'tokens', 'token', 'assignment.tokens'], censor: '(hidden)' },
    },
    destination,
  );
  return (event) => log[levelOf(event)](event);
}

function levelOf(event: AgentEvent): Level {
  if (event.type === 'warning') return 'warn';
  if (event.type === 'beat') return event.accepted ? 'debug' : 'warn';
  if (event.type === 'log') return 'debug';
  if (event.type === 'step' && event.status === 'started') return 'debug';
  if (event.type === 'image') return event.change === 'switched_back' ? 'warn' : 'info';
  if (event.type === 'image_fetch') return event.state === 'failed' ? 'warn' : 'info';
  if (event.type === 'self_check') return event.ok ? 'info' : 'warn';
  if (event.type === 'controller') return event.reachable ? 'info' : 'warn';
  if (event.type === 'result') return event.outcome === 'succeeded' ? 'info' : 'warn';
  return 'info';
}

function humanLine(line: AgentEvent & { time: string; level: string }, dates: boolean): string {
  const time = dates ? line.time.slice(0, 19) : line.time.slice(11, 19);
  const who = 'buildId' in line ? `${line.buildId}#${line.attempt} ` : '';
  const mark = line.level === 'warn' || line.level === 'error' ? '! ' : '  ';
  return `${time} ${mark}${printable(who + describe(line))}\n`;
}

const ms = (durationMs: number | undefined) => (durationMs === undefined ? '' : ` (${durationMs} ms)`);
const note = (text: string | undefined | null) => (text ? `: ${text}` : '');

const IMAGE_WORDS: Record<ImageChange, string> = {
  switched: 'switched to a new snapshot',
  proven: 'has proved itself',
  switched_back: 'switched back to the previous snapshot',
  back: 'back at the previous snapshot',
  promoted: 'promoted',
};

export function describe(event: AgentEvent): string {
  switch (event.type) {
    case 'started':
      return `agent of worker ${event.workerId}, ${event.slots} ${event.slots === 1 ? 'slot' : 'slots'}, controller ${event.controllerUrl}`;
    case 'reconciled':
      return `${event.vmName}: ${event.action} (${event.reason})`;
    case 'idle':
      return `waiting for builds, ${event.state}${note(event.reason)}`;
    case 'controller':
      return `controller ${event.reachable ? 'reached' : 'not reached'}${note(event.message)}`;
    case 'image':
      return `image ${event.image}, ${IMAGE_WORDS[event.change]}: builds are cloned from ${event.vm}${note(event.message)}`;
    case 'image_fetch':
      return `image ${event.image}: ${event.state} ${event.reference}${note(event.message)}`;
    case 'self_check':
      return `this worker has checked itself: ${event.message}`;
    case 'draining':
      return event.waitingFor.length > 0
        ? `draining: takes no new builds and waits for ${event.waitingFor.join(', ')}. The same signal again stops now`
        : 'draining: takes no new builds, and none is running';
    case 'stopping':
      return 'stopping now: running builds end as worker_stopped';
    case 'stopped':
      return 'stopped';
    case 'warning':
      return event.message;
    case 'claimed':
      return `${event.adopted ? 'taken up again' : 'claimed'}, VM ${event.vmName}`;
    case 'stage':
      return `stage ${event.stage}`;
    case 'step':
      return `step ${stepInWords(event.step)} ${event.status}${ms(event.durationMs)}${note(event.detail)}`;
    case 'check':
      return `check ${event.id} ${event.status}${ms(event.durationMs)}${note(event.detail)}`;
    case 'beat':
      return event.accepted
        ? `beat accepted, stage ${event.stage}${event.percent === undefined ? '' : `, ${event.percent} % ${event.phase ?? ''}`}${ms(event.durationMs)}`
        : `beat not accepted${note(event.message)}`;
    case 'log':
      return `log at ${event.lengthBytes} bytes, ${event.followers} following`;
    case 'artifact':
      return `artifact ${event.name} ${event.status}, ${event.sizeBytes} bytes, sha256 ${event.sha256}`;
    case 'result':
      if (event.handBack === 'vm_limit')
        return `handed back: macOS allows no further VM on this Mac; the build waits for another Mac, or for this one${event.message ? ` (${event.message})` : ''}`;
      if (event.handBack === 'image_gone')
        return `handed back${note(event.message)}; the build waits for a Mac that has it`;
      return `${event.outcome}${event.verdict ? ` ${event.verdict}` : ''}${event.step ? ` at ${event.step}` : ''}${note(event.message)}${event.explained ? `. ${event.explained.sentence} ${event.explained.advice}` : ''}`;
    case 'reported':
      return `${event.accepted ? 'report accepted' : 'report refused'}${note(event.message)}`;
    case 'kept':
      return `the VM is kept until ${event.until}; \`expo-worker shell\` opens a shell in it, \`expo-worker release\` ends it`;
    case 'kept_end':
      return `the VM is kept no longer: ${KEPT_END_IN_WORDS[event.reason]}`;
    case 'slot_free':
      return `VM ${event.vmName} is gone, the slot is free`;
  }
}
