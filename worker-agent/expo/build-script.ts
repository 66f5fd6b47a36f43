/**
 * Writes the script that builds a profile in the VM. It sets variables and then runs expo.sh of the guest
 * scripts. Pure.
 *
 * Invariant: each value is quoted by shellQuote, and nothing secret is an argument of a program. The script
 * is in no process list, because it reaches bash as a file that is deleted at once.
 */

import type { BuildPlan } from '../../client/plan/plan.ts';
import { SCRIPT_NAMES, type ScriptVariables, TARGET_MARK } from '../../client/plan/script-variables.ts';
import { NUMBER_MARK } from '../../client/project/job.ts';
import { shellQuote } from '../guest/arguments.ts';

/** `number` is null if the build has none, or asks for it itself. */
export function buildScript(plan: BuildPlan, number: number | null, scriptsVersion: string): string {
  const variables = scriptVariables(plan, number);
  const exported = { ...plan.exported, ...(number !== null && { TARTBEAT_BUILD_NUMBER: String(number) }) };
  return [
    ...exports(exported),
    // A variable that bash found in its environment would stay exported.
    `unset ${SCRIPT_NAMES.join(' ')}`,
    ...SCRIPT_NAMES.map((name) => `${name}=${shellQuote(variables[name])}`),
    `. "$HOME/.tartbeat/guest/"${shellQuote(scriptsVersion)}/expo.sh`,
    '',
  ].join('\n');
}

function scriptVariables(plan: BuildPlan, number: number | null): ScriptVariables {
  const { reserved } = plan;
  return {
    platform: plan.platform,
    profile: plan.profile,
    app_root: plan.appRoot,
    workspace_root: plan.manager.workspaceRoot,
    workflow: plan.workflow,
    engine: plan.engine,
    manager: plan.manager.manager,
    manager_install: plan.manager.install,
    tools: plan.tools.map(({ name, version }) => `${name} ${version}`).join('\n'),
    job: withNumber(plan.job ?? '', number),
    ask_number: plan.number.asked === 'in the VM' ? '1' : '',
    ask_target: plan.job?.includes(JSON.stringify(TARGET_MARK)) ? '1' : '',
    notes: plan.notes.join('\n'),
    secret_env: exports(plan.engine === 'eas' ? plan.secret : {}).join('\n'),
    git_ssh_key: reserved.GIT_SSH_KEY ?? '',
    git_known_hosts: reserved.GIT_KNOWN_HOSTS ?? '',
    netrc: reserved.NETRC ?? '',
    npmrc: reserved.NPMRC ?? '',
    expo_token: plan.engine === 'eas' ? (reserved.EXPO_TOKEN ?? '') : '',
  };
}

const exports = (variables: Readonly<Record<string, string>>): string[] =>
  Object.entries(variables).map(([name, value]) => `export ${name}=${shellQuote(value)}`);

const withNumber = (job: string, number: number | null): string =>
  number === null ? job : job.replaceAll(JSON.stringify(NUMBER_MARK), JSON.stringify(String(number)));
