/**
 * Is the process inside a VM. It has the SSH server, the guest agent and the gateway, and all shells are its
 * children. `hypervisor.ts` starts it, learns over IPC that it has booted, tells it of faults, and ends it.
 *
 * Invariant: it never ends by itself, unless the hypervisor dies.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { guestEnvironment, guestHome, prepareGuest } from './environment.ts';
import { Gateway } from './gateway.ts';
import { GuestAgent } from './guest-agent.ts';
import { addressesFor, writeLease } from './leases.ts';
import { NetworkCard } from './network-card.ts';
import type { Softnet } from './softnet.ts';
import { type SshBehaviour, SshServer } from './ssh-server.ts';

/** The only command-line argument, as JSON. */
export interface GuestOptions {
  tartHome: string;
  runId: string;
  /** The VM's folder. */
  folder: string;
  user: string;
  macAddress: string;
  sshPort: number;
  /** Null for Tart's own network, which has no filter. */
  softnet: Softnet | null;
  /** The faults that are on from the start. */
  faults: GuestFaults;
}

/** The hypervisor sends this whenever a fault is turned on or off. */
export interface GuestFaults {
  ssh: SshBehaviour;
  networkCut: boolean;
  guestAgent: boolean;
}

const options: GuestOptions = JSON.parse(process.argv[2] ?? '');
const root = join(options.folder, 'guest');
const networkCard = new NetworkCard();
const gateway = new Gateway(process.env, options.softnet, networkCard);
let environment: Record<string, string> = {};
const ssh = new SshServer({
  hostKey: readFileSync(join(root, 'etc', 'ssh', 'ssh_host_ed25519_key'), 'utf8'),
  user: options.user,
  home: guestHome(root, options.user),
  authorizedKeys: () => readText(join(guestHome(root, options.user), '.ssh', 'authorized_keys')),
  environment: () => environment,
  networkCard,
});
const guestAgent = new GuestAgent({ home: guestHome(root, options.user), environment: () => environment });

process.on('disconnect', () => process.exit(1)); // `tart run` has died; the reaper ends the rest
prepareGuest(root, options.user, process.env);
const address = await listen();
const { runId, user, macAddress } = options;
const facts = { runId, root, user, macAddress, address, serverPid: process.pid };
environment = guestEnvironment({ ...facts, proxy: await gateway.listen(address) }, process.env);
networkCard.keepFile(join(root, 'var', 'run', 'network-bytes'));
await play(options.faults); // before any client can know the address
writeLease(options.tartHome, options.macAddress, address);
process.send?.('booted');
process.on('message', (faults: GuestFaults) => void play(faults).catch(() => process.exit(1)));

async function play(faults: GuestFaults): Promise<void> {
  if (faults.networkCut) gateway.cut();
  else gateway.restore();
  await guestAgent.behave(faults.guestAgent);
  await ssh.behave(faults.ssh); // rejects if another program has taken the port in the meantime
}

async function listen(): Promise<string> {
  for (const address of addressesFor(options.tartHome, options.macAddress)) {
    try {
      await ssh.listen(options.sshPort, address);
      return address;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
  throw new Error(`no free address at port ${options.sshPort}`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
