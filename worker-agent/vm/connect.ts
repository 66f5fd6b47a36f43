/**
 * Waits until SSH in a VM that runs accepts commands.
 *
 * Invariant: the wait ends within its limit, or at once when the signal aborts, and its outcome is a value.
 */
import { readFile } from 'node:fs/promises';
import { jittered, pause } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import type { AgentConfig } from '../config.ts';
import type { VmScripts } from '../guest/scripts.ts';
import { connectSsh, type Ssh } from '../guest/ssh.ts';
import { SshError } from '../guest/ssh-error.ts';
import type { Tart } from '../tart/tart.ts';

const TRY_PAUSE_MS = 500;
/** A shorter try could not succeed, and its error would hide the errors of the earlier tries. */
const TRY_MIN_MS = 500;
const CONNECT_TIMEOUT_MS = 5_000;
/** A guest that is up and has refused the key for this long will not accept it later. */
const AUTH_PATIENCE_MS = 20_000;

export interface SshWait {
  tart: Tart;
  config: AgentConfig;
  name: string;
  scripts: VmScripts;
  /** Only for the first try, because it may be an old address of another VM. Later tries ask tart again. */
  firstAddress?: string;
  timeoutMs: number;
  signal: AbortSignal;
  /** The host key of an earlier connection. Without it the config's pinned key counts, if there is one. */
  hostFingerprint?: string;
}

export type SshReached = { ok: true; ssh: Ssh; address: string } | { ok: false; error: SshError; message: string };

export async function waitForSsh(options: SshWait): Promise<SshReached> {
  const { tart, config, name, scripts, timeoutMs, signal, hostFingerprint } = options;
  const startedAt = awakeMs();
  const leftMs = () => startedAt + timeoutMs - awakeMs();
  const failed = (error: SshError): SshReached => ({ ok: false, error, message: error.message });

  let privateKey: string;
  try {
    privateKey = await readFile(config.vmSshKey, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return failed(new SshError('auth', `the private key ${config.vmSshKey} cannot be read (${code})`));
  }

  let address = options.firstAddress;
  let refusedSince: number | null = null;
  let last = new SshError('timeout', `no SSH within ${timeoutMs / 1000} s`);
  for (let tries = 0; (tries === 0 || leftMs() > TRY_MIN_MS) && !signal.aborted; tries++) {
    if (address === undefined) {
      const found = await tart.ip(name, { signal });
      if (found.ok) address = found.address;
      else last = new SshError('timeout', found.message);
    }
    if (address !== undefined)
      try {
        const ssh = await connectSsh({
          host: address,
          port: config.vmSshPort,
          user: config.vmUser,
          privateKey,
          scripts,
          hostFingerprint: hostFingerprint ?? config.vmHostKey?.replace('SHA256:', ''),
          connectTimeoutMs: Math.max(TRY_MIN_MS, Math.min(CONNECT_TIMEOUT_MS, leftMs())),
          signal,
        });
        return { ok: true, ssh, address };
      } catch (error) {
        if (!(error instanceof SshError)) throw error;
        last = error;
        refusedSince = error.kind === 'auth' ? (refusedSince ?? awakeMs()) : null;
        if (refusedSince !== null && awakeMs() - refusedSince > AUTH_PATIENCE_MS) break;
      }
    address = undefined;
    await pause(jittered(TRY_PAUSE_MS), signal).catch(() => {}); // the loop looks at the signal
  }
  return failed(signal.aborted && last.kind !== 'aborted' ? new SshError('aborted', last.message) : last);
}
