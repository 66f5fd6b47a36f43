/**
 * Lists the variables that the script of a build gives to expo.sh and the guest scripts beside it.
 */

import type { Workflow } from '../project/workflow.ts';

/**
 * The text that the job has in place of the name of the signed target, if only the VM can find that name. The
 * guest scripts know the same text.
 */
export const TARGET_MARK = '@TARGET@';

/** The variables that the guest scripts read. They are not exported, so no tool of the build has them. */
export interface ScriptVariables {
  platform: string;
  profile: string;
  /** `.` or a folder of the source. */
  app_root: string;
  workspace_root: string;
  /** In a managed project the native folder is not packed for the engine, because Expo makes it. */
  workflow: Workflow;
  engine: 'plugin' | 'eas';
  manager: string;
  /** The words of the install command. */
  manager_install: string;
  /** Lines of `NAME VERSION`. */
  tools: string;
  /**
   * JSON for the engine `plugin`, with the texts @ARCHIVE@ and, if the build asks for its number, @NUMBER@,
   * and if it looks for the name of its target, @TARGET@.
   */
  job: string;
  /** `1` if the build asks for its number itself. */
  ask_number: '' | '1';
  /** `1` if the build must look for the name of its target in the app config. */
  ask_target: '' | '1';
  /** Lines for the log. */
  notes: string;
  /** Lines of `export NAME='VALUE'`, for the engine `eas` alone. */
  secret_env: string;
  git_ssh_key: string;
  git_known_hosts: string;
  netrc: string;
  npmrc: string;
  expo_token: string;
}

export const SCRIPT_NAMES: readonly (keyof ScriptVariables)[] = [
  ...(['platform', 'profile', 'app_root', 'workspace_root', 'workflow', 'engine'] as const),
  ...(['manager', 'manager_install', 'tools'] as const),
  ...(['job', 'ask_number', 'ask_target', 'notes', 'secret_env'] as const),
  ...(['git_ssh_key', 'git_known_hosts', 'netrc', 'npmrc', 'expo_token'] as const),
];

/** True if the guest scripts need this name for a variable of their own. */
export const isNameOfScript = (name: string): boolean => (SCRIPT_NAMES as readonly string[]).includes(name);
