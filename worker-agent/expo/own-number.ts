/**
 * Lets a build keep the number of its project, if the controller has no counter and the profile asks for
 * none. Pure.
 */

import type { BuildPlan } from '../../client/plan/plan.ts';
import { NUMBER_MARK } from '../../client/project/job.ts';

const NOTE =
  "Tartbeat has no counter of build numbers for this app, and the profile has no `autoIncrement`, so the project's own number stays.";

/** The plan of a build that has asked for its number and got none. */
export function withOwnNumber(plan: BuildPlan): BuildPlan {
  return {
    ...plan,
    job: plan.job === null ? null : withoutNumber(plan.job),
    number: { asked: 'never' },
    notes: [...plan.notes, NOTE],
  };
}

function withoutNumber(text: string): string {
  const { job, metadata } = JSON.parse(text);
  delete job.version;
  if (metadata.appBuildVersion === NUMBER_MARK) delete metadata.appBuildVersion;
  return JSON.stringify({ job, metadata });
}
