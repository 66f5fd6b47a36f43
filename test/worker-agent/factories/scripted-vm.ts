/**
 * Makes VMs for an agent: a scripted `tart` with a base image, all of whose clones are one real OpenSSH
 * server. A file in `dir` changes what happens: `no-ip`, `run-fails` (its text goes to stderr), `crash`,
 * `no-guest-agent`, `version`.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type AgentConfig, parseConfig } from '../../../worker-agent/config.ts';
import { startOpenSsh } from '../servers/openssh-server.ts';
import { scriptedTart } from './scripted-tart.ts';

export const GUEST_MAC = '7e:01:02:03:04:05';

const STATE = 'vms="$HOME_DIR/home/vms";';
const COMMANDS = {
  '--version': 'cat "$HOME_DIR/version" 2>/dev/null || echo 2.33.0',
  list: `${STATE} sep=; printf '['; for vm in "$vms"/*; do [ -d "$vm" ] || continue
    printf '%s{"Name":"%s","Source":"local","State":"%s"}' "$sep" "\${vm##*/}" "$(cat "$vm/state")"; sep=,; done; echo ']'`,
  clone: `${STATE} mkdir "$vms/$3"; echo stopped >"$vms/$3/state"; echo '{"macAddress":"${GUEST_MAC}"}' >"$vms/$3/config.json"`,
  set: 'exit 0',
  ip: '[ -e "$HOME_DIR/no-ip" ] && { echo "no IP address found" >&2; sleep 0.1; exit 1; }; echo 127.0.0.1',
  run: `${STATE} [ -e "$HOME_DIR/run-fails" ] && { cat "$HOME_DIR/run-fails" >&2; exit 1; }
    echo running >"$vms/$2/state"; trap 'echo stopped >"$vms/$2/state"; exit 0' INT; echo $$ >"$vms/$2/pid"
    while [ -d "$vms/$2" ] && [ ! -e "$HOME_DIR/crash" ]; do sleep 0.05; done
    echo stopped >"$vms/$2/state"; echo "guest has stopped the virtual machine"`,
  stop: `${STATE} [ -d "$vms/$2" ] || { echo "the specified VM \\"$2\\" does not exist" >&2; exit 2; }
    [ "$(cat "$vms/$2/state")" = running ] || { echo "VM \\"$2\\" is not running" >&2; exit 2; }
    kill -INT "$(cat "$vms/$2/pid")"; sleep 0.2`,
  exec: `[ -e "$HOME_DIR/no-guest-agent" ] &&
    { echo "Failed to connect to the VM using its control socket: is the Tart Guest Agent running?" >&2; exit 1; }
    shift 2; "$@"; exit $?`,
  delete: `${STATE} [ -d "$vms/$2" ] || { echo "the specified VM \\"$2\\" does not exist" >&2; exit 2; }; rm -r "$vms/$2"`,
};

export async function scriptedVms() {
  const server = await startOpenSsh();
  const scripted = scriptedTart(COMMANDS);
  const base = join(scripted.dir, 'home', 'vms', 'expo-build-vm-base-snapshot');
  mkdirSync(base, { recursive: true });
  writeFileSync(join(base, 'state'), 'stopped\n');
  writeFileSync(join(base, 'config.json'), `{"macAddress":"${GUEST_MAC}"}`);
  const settings = {
    vmName: 'expo-build-vm',
    vmUser: server.target.user,
    vmSshKey: server.keyPath,
    vmSshPort: server.target.port,
    controllerUrl: 'http://127.0.0.1:9',
    apiKey: 'tb_worker_abcdefgh',
    tartPath: scripted.tartPath,
    tartHome: join(scripted.dir, 'home'),
    vmHostAddress: '127.0.0.1',
    minFreeDiskGb: 0,
  };
  const config: AgentConfig = parseConfig(JSON.stringify(settings), 'test');
  return {
    server,
    scripted,
    tart: scripted.tart,
    settings,
    config,
    options: { tart: scripted.tart, config, runDir: join(scripted.dir, 'runs') },
    on: (fault: string, text = '') => writeFileSync(join(scripted.dir, fault), text),
    off: (fault: string) => rmSync(join(scripted.dir, fault), { force: true }),
    /** Adds a command to the guest, which is found before the system's. */
    guestCommand(name: string, script: string) {
      const path = join(server.home, name.includes('/') ? name : `bin/${name}`);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    },
    /** Whether its `tart run` has started the VM. */
    runs: (name: string) => readFileSync(join(scripted.dir, 'home', 'vms', name, 'state'), 'utf8') === 'running\n',
    async names() {
      const listed = await scripted.tart.list();
      return listed.ok ? listed.vms.map(({ name }) => name) : [listed.message];
    },
    async [Symbol.asyncDispose]() {
      writeFileSync(join(scripted.dir, 'crash'), '');
      await server[Symbol.asyncDispose]();
      scripted[Symbol.dispose]();
    },
  };
}

export type ScriptedVms = Awaited<ReturnType<typeof scriptedVms>>;
