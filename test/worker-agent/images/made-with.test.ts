/** Tests that an image that is fetched gets what a person has given to the one before it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { parseConfig } from '../../../worker-agent/config.ts';
import { makeBaseImage } from '../../../worker-agent/images/base-image.ts';
import { Fetching } from '../../../worker-agent/images/fetch.ts';
import { Images } from '../../../worker-agent/images/images.ts';
import { madeWithOf, readMadeWith } from '../../../worker-agent/images/made-with.ts';
import { resultOf } from '../../../worker-agent/images/make-image.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const REFERENCE = `ghcr.io/acme/builder@sha256:${'a'.repeat(64)}`;
const FETCHED = `mac-base-${'a'.repeat(12)}`;
const certificate = (name: string) => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`;

/** A Mac whose create-base-image.sh writes down with which words it was called, and what is in --ca. */
function aMac() {
  const dir = temporaryDir();
  const path = (name: string) => join(dir.path, name);
  mkdirSync(path('vm-image'));
  writeFileSync(
    path('vm-image/create-base-image.sh'),
    `echo "$*" >>'${path('calls')}'
    while [ $# -gt 0 ]; do
      case $1 in
        --ca) cat "$2" >>'${path('authorities')}' ;;
        --snapshot) snapshot=$2 ;;
        --result) printf 'snapshot=%s\\nfrom=\\n' "$snapshot" >"$2" ;;
      esac
      shift
    done`,
  );
  vi.stubEnv('TARTBEAT_VM_IMAGE', path('vm-image'));
  const scripted = scriptedTart({ list: "echo '[]'", fqn: 'echo "$2"', pull: ':', clone: ':', delete: ':' });
  const { tart } = scripted;
  const configPath = path('config.json');
  const settings = {
    ...{ vmName: 'mac', vmUser: 'builder', vmSshKey: '/key', controllerUrl: 'http://c', apiKey: 'tb_worker_abcdefgh' },
    registries: ['ghcr.io/acme/'],
  };
  const config = parseConfig(JSON.stringify(settings), configPath);
  const said: string[] = [];
  const images = Images.open({ configPath, config, tart, emit: () => {} });
  const roomOf = async () => ({ totalBytes: 900e9, freeBytes: 800e9 });
  const options = { config, configPath, images, tart, roomOf, yes: true, ask: null };
  return {
    ...{ path, said, stateDir: path('state') },
    calls: () => readFileSync(path('calls'), 'utf8').trim().split('\n'),
    make: (...more: string[]) =>
      makeBaseImage({
        ...{ ...options, more },
        say: (line) => said.push(line),
        onLine: () => {},
        signal: new AbortController().signal,
      }),
    /** Resolves once the fetch has failed, at the latest at doctor. */
    async fetch(): Promise<string> {
      const over = new AbortController();
      const fetching = new Fetching({
        ...{ config, images, tart, roomOf, stateDir: path('state'), emit: () => {} },
        clonesBytes: async () => 0,
        holdSlot: async () => ({ vmGone() {}, release() {} }),
      });
      const running = fetching.run(over.signal);
      fetching.want([{ name: 'default', reference: REFERENCE, mayFetch: true }]);
      await until(() => fetching.fetches[0]?.state === 'failed', 'it has failed');
      over.abort();
      await running;
      return fetching.fetches[0]!.message;
    },
    [Symbol.dispose]() {
      vi.unstubAllEnvs();
      scripted[Symbol.dispose]();
      dir[Symbol.dispose]();
    },
  };
}

test('the tied key, the packet filter and the authorities of the former image are given to the fetched one', async () => {
  using mac = aMac();
  const ca = mac.path('ca.pem');
  writeFileSync(ca, certificate('office'));
  const own = ['--restrict-key', '--packet-filter', '192.0.2.7', '--ca', ca, '--cpus', '4'];
  expect(await mac.make(...own)).toBe(0);
  writeFileSync(ca, 'gone');
  writeFileSync(mac.path('authorities'), '');
  expect(await mac.fetch()).toMatch(/^doctor did not pass/);
  expect(mac.calls().at(-1)).toMatch(
    new RegExp(
      `--snapshot ${FETCHED} --force --restrict-key --packet-filter 192.0.2.7 --ca \\S+/authorities.pem --result`,
    ),
  );
  expect(readFileSync(mac.path('authorities'), 'utf8')).toBe(certificate('office'));
  // The image after that one gets them too.
  const remembered = { restrictKey: true, packetFilter: '192.0.2.7', authorities: certificate('office') };
  expect(readMadeWith(mac.stateDir, FETCHED)).toEqual(remembered);
});

test('an image that was made without them is fetched without them', async () => {
  using mac = aMac();
  expect(await mac.make()).toBe(0);
  await mac.fetch();
  expect(mac.calls().at(-1)).toMatch(new RegExp(`--snapshot ${FETCHED} --force --result \\S+$`));
});

test('what was remembered and cannot be read is not taken for nothing', async () => {
  using mac = aMac();
  expect(await mac.make('--restrict-key')).toBe(0);
  writeFileSync(join(mac.stateDir, 'made-with.json'), '{"mac-base-snapshot":{"restrictKey":1}}');
  expect(await mac.fetch()).toContain('made-with.json cannot be read, so it is not known how');
  expect(mac.calls()).toHaveLength(1);
  await expect(mac.make('--force')).rejects.toThrow('made-with.json cannot be read');
});

test('a VM that is there keeps its filter and its authorities, and its key is tied only if it is said', () => {
  using dir = temporaryDir();
  const ca = join(dir.path, 'ca.pem');
  writeFileSync(ca, `text\n${certificate('office')}${certificate('proxy')}`);
  const before = { restrictKey: true, packetFilter: '192.0.2.7', authorities: certificate('office') };
  expect(madeWithOf(['--force'], before)).toEqual({ ...before, restrictKey: false });
  expect(madeWithOf(['--packet-filter', 'off', '--ca', ca, '--restrict-key'], before)).toEqual({
    ...{ restrictKey: true, packetFilter: null, authorities: certificate('office') + certificate('proxy') },
  });
});

test('the first line of each key of a result counts, and what is no hash is none', () => {
  const [sha256, other] = ['ab'.repeat(32), 'cd'.repeat(32)];
  expect(
    resultOf(
      `snapshot=mac\ndigest=sha256:${sha256}\nprovisioned=${sha256}\nfrom=a\nsnapshot=b\nprovisioned=${other}\n`,
    ),
  ).toEqual({ snapshot: 'mac', digest: `sha256:${sha256}`, provisioned: sha256, from: 'a' });
  expect(resultOf('snapshot=mac\ndigest=\nprovisioned=x\n')).toEqual({
    ...{ snapshot: 'mac', digest: null, provisioned: null, from: '' },
  });
  expect(resultOf('')).toBeNull();
});
