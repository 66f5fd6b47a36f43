/**
 * Chooses the guest scripts that a VM's commands run with, and brings them into the VM if it does not have
 * them.
 *
 * Invariant: a VM that has the scripts of this agent costs one question, which the check `ssh` asks anyway.
 */
import { readdirSync } from 'node:fs';
import { create } from 'tar';
import { GUEST_COMMAND_MS, GUEST_INSTALL_MS } from '../time-limits.ts';
import { parseScriptsSeen, SCRIPTS_DAMAGED } from './answers.ts';
import { installScripts, whichScripts } from './commands.ts';
import { chooseScripts, numberOf, ownScripts, type ScriptsSeen, speaks, type VmScripts } from './scripts.ts';
import type { Ssh } from './ssh.ts';

/** Throws if the answer comes from neither a shell nor vm-ssh-gate. */
export async function askScripts(ssh: Pick<Ssh, 'exec'>, signal: AbortSignal): Promise<ScriptsSeen> {
  const answer = await ssh.exec(whichScripts(), { timeoutMs: GUEST_COMMAND_MS, signal });
  const seen = parseScriptsSeen(answer);
  if (seen) return seen;
  const said = answer.stdout.toString('utf8') || answer.stderr;
  throw new Error(`the VM answered ${JSON.stringify(said.slice(0, 100))} instead of "alive"`);
}

/** Why no build can run with these scripts, and what helps; null if one can. */
export function problemOf(seen: ScriptsSeen): { detail: string; fix: string } | null {
  const { choice } = chooseScripts(seen);
  if (choice === 'use' || choice === 'install') return null;
  const mine = numberOf(ownScripts().version);
  const spoken = mine === 1 ? 'number 1' : `numbers ${mine - 1} and ${mine}`;
  const image = `the key is tied to vm-ssh-gate, and the guest scripts of the base image (${seen.versions.join(', ')})`;
  const command = '`expo-worker base-image --force --restrict-key`';
  const remake = `Run ${command}, which makes the base image with the vm-image/ of this agent.`;
  if (choice === 'newer')
    return {
      detail: `${image} are newer than this agent, which speaks ${spoken}`,
      fix: `Update the agent, or run ${command}, which makes the base image with the vm-image/ of this agent.`,
    };
  if (seen.versions.length > 0)
    return { detail: `${image} are too old for this agent, which speaks ${spoken}`, fix: remake };
  return {
    detail: 'the key is tied to vm-ssh-gate, and the base image has no guest scripts: it is too old for this agent',
    fix: remake,
  };
}

/**
 * Returns in a few words which scripts are in use. Throws if none can be, or if they did not arrive. Safe to
 * repeat.
 */
export async function settleScripts(
  ssh: Pick<Ssh, 'exec'>,
  scripts: VmScripts,
  seen: ScriptsSeen,
  signal: AbortSignal,
): Promise<string> {
  if (scripts.version !== null) return scripts.version;
  const chosen = chooseScripts(seen);
  if (chosen.choice === 'older' || chosen.choice === 'newer') throw new Error(problemOf(seen)!.detail);
  const { choice, version } = chosen;
  if (choice === 'install') await install(ssh, version, signal);
  scripts.version = version;
  if (choice === 'install') return `${version}, installed: the image has ${seen.versions.join(', ') || 'none'}`;
  return version === ownScripts().version ? version : `${version}, of the image`;
}

/** Uses scripts that the VM has, without bringing any: for a look at a VM that did not pass its checks. */
export async function findScripts(ssh: Pick<Ssh, 'exec'>, scripts: VmScripts, signal: AbortSignal): Promise<void> {
  if (scripts.version !== null) return;
  const { versions } = await askScripts(ssh, signal);
  scripts.version = versions.find((version) => speaks(version)) ?? null;
}

async function install(ssh: Pick<Ssh, 'exec'>, version: string, signal: AbortSignal): Promise<void> {
  const { folder } = ownScripts();
  const archive = await create({ cwd: folder, portable: true }, readdirSync(folder).sort()).concat();
  const { exitCode, stderr } = await ssh.exec(installScripts({ version, archive }), {
    timeoutMs: GUEST_INSTALL_MS,
    signal,
  });
  if (exitCode === 0) return;
  const how = exitCode === SCRIPTS_DAMAGED ? 'they arrived damaged' : `exit code ${exitCode}`;
  throw new Error(`the guest scripts could not be installed in the VM (${how}): ${stderr.trim().slice(-500)}`);
}
