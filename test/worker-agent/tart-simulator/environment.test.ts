/** Tests which of the host's settings the programs of a simulated guest see. */
import { expect, test } from 'vitest';
import { guestEnvironment } from '../../../worker-agent/tart-simulator/guest/environment.ts';

const FACTS = {
  ...{ runId: 'run', root: '/guest', user: 'admin', macAddress: '02:00:00:00:00:01', address: '127.64.0.2' },
  ...{ proxy: 'http://127.64.0.2:1', serverPid: 1 },
};

test('a guest has the registry and certificates of the host, but not its folders, its proxies, or its silence', () => {
  const host = {
    npm_config_registry: 'https://registry.example/',
    NODE_EXTRA_CA_CERTS: '/host/ca.pem',
    npm_config_prefix: '/host/npm',
    npm_config_https_proxy: 'http://host.example:3128',
    // `npm run -s demo` would otherwise hide what npm prints in the build.
    npm_config_loglevel: 'silent',
    AWS_SECRET_ACCESS_KEY: 'secret',
  };
  const guest = guestEnvironment(FACTS, host);
  const names = Object.keys(host) as (keyof typeof host)[];
  expect(names.map((name) => guest[name])).toEqual([
    'https://registry.example/',
    '/host/ca.pem',
    undefined,
    'http://127.64.0.2:1',
    undefined,
    undefined,
  ]);
});
