/**
 * Reads the output of Gradle. The rich console draws a percentage. The plain console names each task when it
 * has ended, but not how many there will be. Hundreds of tasks take no time, and a few compile C++ for
 * minutes. So a task counts by its kind, and gradle/forecast.ts estimates the rest from the modules and
 * architectures so far.
 */
import { createGradleForecast } from '../gradle/forecast.ts';
import { fromRules, type Recogniser, ratio } from './recogniser.ts';

const TASK = /^> Task (:\S+):([\w-]+)(?:\[([\w-]+)\]\S*)?(?: (UP-TO-DATE|FROM-CACHE|NO-SOURCE|SKIPPED|FAILED))?$/;

const rules = fromRules('gradle', '><WSDB', [
  [
    /^<[=-]*> (\d+)% (INITIALIZING|CONFIGURING|EXECUTING|WAITING)/,
    (match) => ({
      phase: 'gradle',
      share: match[2] === 'EXECUTING' ? 0.05 + 0.9 * ratio(match[1], '100') : 0,
    }),
  ],
  [/^> (?:Configure project|Transform)\b/, { phase: 'gradle' }],
  [/^(?:Welcome to Gradle|Starting a Gradle Daemon|Downloading https:\/\/services\.gradle\.org)/, { phase: 'gradle' }],
  [/^BUILD (?:SUCCESSFUL|FAILED) in /, { phase: 'gradle', ended: true }],
]);

export const gradle: Recogniser = {
  tool: rules.tool,
  starts: rules.starts,
  create() {
    const forecast = createGradleForecast();
    const other = rules.create();
    return (line) => {
      const task = TASK.exec(line);
      if (!task) return other(line);
      const [, module = '', name = '', architecture = null, outcome] = task;
      const work = forecast.add({ module, name, architecture, ran: outcome === undefined || outcome === 'FAILED' });
      return {
        phase: 'gradle',
        work,
        share: forecast.share(),
        ahead: forecast.ahead(),
        typicalMs: forecast.typicalMs(),
      };
    };
  },
};
