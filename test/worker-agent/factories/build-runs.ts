/** Waits until a build of the stand-in controller prints. */

import type { StandInBuild } from '../servers/stand-in-controller.ts';
import type { startAgent } from './agent-process.ts';
import { until } from './until.ts';

/** Generous: these are whole VMs on a machine that may be busy with others. */
export const PATIENCE_MS = 120_000;

export async function buildRuns(build: StandInBuild, agent: ReturnType<typeof startAgent>): Promise<void> {
  await until(() => build.log.length > 0, 'the build runs', PATIENCE_MS).catch((error) => {
    throw new Error(`${error.message}\n${agent.said()}`);
  });
}
