/** Shows that `expo-worker install` changes settings of the Mac only after a yes. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type SetUpOptions, setUpMac } from '../../../worker-agent/commands/set-up-mac.ts';
import { saveConfig } from '../../../worker-agent/config.ts';
import { LABEL } from '../../../worker-agent/mac/launchd-plist.ts';
import { standInMac } from '../factories/stand-in-mac.ts';

const SHARING = '/Library/Preferences/SystemConfiguration/com.apple.InternetSharing.default.plist';
const PMSET_SLEEP = 'pmset -a sleep 0 disksleep 0 displaysleep 0';
const PMSET_POWER = 'pmset -a autorestart 1';
const LEASES = `defaults write ${SHARING} bootpd -dict DHCPLeaseTimeSecs -int 600`;
const ALLOW = (kind: string) =>
  `defaults write com.apple.network.local-network Allowed${kind}LocalNetworkAddresses -array 192.168.64.0/24`;

/** A Mac with every fault that a command cures, whose settings the commands change. */
async function neglectedMac({ job = `system/${LABEL}` }: { job?: string } = {}) {
  const stand = standInMac();
  stand.command('sw_vers', 'echo 26.6');
  stand.command('uname', 'echo arm64');
  stand.command('id', 'echo 501');
  stand.command('dscl', 'echo "NFSHomeDirectory: /Users/admin"');
  stand.command('launchctl', `[ "$2" = '${job}' ] || exit 113; printf '\\tpid = 7\\n'`);
  stand.command(
    'pmset',
    `if [ "$1" = -g ]; then [ -e "$dir/awake" ] && s=0 || s=10; [ -e "$dir/restarts" ] && r=1 || r=0
       printf ' sleep %s\\n disksleep 0\\n autorestart %s\\n' $s $r
     elif [ "$2" = sleep ]; then touch "$dir/awake"; else touch "$dir/restarts"; fi`,
  );
  stand.command(
    'defaults',
    `if [ "$1" = write ]; then touch "$dir/leases"; elif [ -e "$dir/leases" ]; then echo '{ DHCPLeaseTimeSecs = 600; }'; else exit 1; fi`,
  );
  stand.command('sudo', '[ ! -e "$dir/refuse" ] || { echo "sudo: a terminal is required" >&2; exit 1; }; exec "$@"');
  const configPath = join(stand.dir, 'worker/config.json');
  saveConfig(configPath, {
    vmName: 'v',
    vmUser: 'u',
    vmSshKey: '/k',
    controllerUrl: 'http://127.0.0.1:9',
    apiKey: 'tb_worker_12345678',
  });
  const said: string[] = [];
  const { signal } = new AbortController();
  return {
    ...stand,
    said,
    setUp: (change: Partial<SetUpOptions> = {}) =>
      setUpMac({
        ...{ mac: stand.mac, configPath, signal, wanted: undefined, ask: null },
        write: (text) => void said.push(text),
        ...change,
      }),
    /** The commands that were run with sudo. */
    changes: () =>
      stand
        .calls()
        .filter((call) => call.startsWith('sudo '))
        .map((call) => call.replaceAll(`${join(stand.dir, 'commands')}/`, '').slice('sudo '.length)),
    [Symbol.dispose]: () => stand[Symbol.dispose](),
  };
}

test('the commands are shown first, and run after a yes', async () => {
  using mac = await neglectedMac();
  let shown = '';
  const ask = async () => {
    expect(mac.changes()).toEqual([]);
    shown = mac.said.join('');
    return true;
  };
  await mac.setUp({ ask });
  for (const command of [PMSET_SLEEP, PMSET_POWER, LEASES]) expect(shown).toContain(`    sudo ${command}\n`);
  expect(mac.changes()).toEqual([PMSET_SLEEP, PMSET_POWER, LEASES]);
  expect(mac.said.join('')).toMatch(/Done\.\n$/);
  mac.said.length = 0;
  await mac.setUp({ ask: () => Promise.reject(new Error('nothing is left to ask about')) });
  expect(mac.said).toEqual([]);
});

test('a no changes nothing, and neither does a Mac without a terminal', async () => {
  using mac = await neglectedMac();
  await mac.setUp({ ask: async () => false });
  await mac.setUp({ mac: { ...mac.mac, uid: 0 } });
  expect(mac.changes()).toEqual([]);
  const said = mac.said.join('');
  expect(said).toContain('Nothing was changed. `expo-worker install --launch-agent --set-up-mac` runs them.');
  expect(said).toContain('`sudo expo-worker install --set-up-mac` runs them.');
  expect(mac.said.join('')).toContain(`sudo ${LEASES}`);
});

test('the options ask nobody: one runs the commands, the other does not even look', async () => {
  using mac = await neglectedMac();
  const ask = () => Promise.reject(new Error('asked'));
  await mac.setUp({ wanted: false, ask });
  expect(mac.calls()).toEqual([]);
  await mac.setUp({ wanted: true, ask });
  expect(mac.changes()).toEqual([PMSET_SLEEP, PMSET_POWER, LEASES]);
});

test('Local Network is offered to a LaunchAgent alone, where macOS has the list', async () => {
  using mac = await neglectedMac({ job: `gui/501/${LABEL}` });
  for (const name of ['awake', 'restarts', 'leases']) writeFileSync(join(mac.dir, name), '');
  mac.command('sw_vers', 'echo 15.4');
  await mac.setUp({ wanted: true });
  expect(mac.changes()).toEqual([]);
  mac.command('sw_vers', 'echo 15.5');
  await mac.setUp({ wanted: true });
  expect(mac.changes()).toEqual([ALLOW('Ethernet'), ALLOW('WiFi')]);
  expect(mac.said.join('')).toContain('Restart the Mac');
});

test('a command that fails is named, with its own words', async () => {
  using mac = await neglectedMac();
  writeFileSync(join(mac.dir, 'refuse'), '');
  await expect(mac.setUp({ wanted: true })).rejects.toThrow(
    `The agent is installed, but \`sudo ${PMSET_SLEEP}\` failed (1): sudo: a terminal is required. Run it by hand.`,
  );
  rmSync(join(mac.dir, 'refuse'));
  await mac.setUp({ wanted: true });
  expect(mac.changes().slice(1)).toEqual([PMSET_SLEEP, PMSET_POWER, LEASES]);
});
