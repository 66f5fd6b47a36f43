import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../../../local/farm/free-port.ts';
import { until } from '../factories/until.ts';
import { imageRegistry } from '../servers/image-registry.ts';
import { BASE, simulatedMac } from './simulated-mac.ts';

const TAGGED = 'fleet/mac';

/** A registry with an image, and the Mac that has pushed it. */
async function published(options: Parameters<typeof imageRegistry>[0] = {}) {
  const registry = await imageRegistry(options);
  const mac = await simulatedMac();
  const name = `${registry.host}/${TAGGED}`;
  const pushed = await mac.tart('push', BASE, `${name}:1`, '--insecure');
  expect(pushed, pushed.stderr).toMatchObject({ exitCode: 0, stderr: '' });
  const digest = registry.digestOf(TAGGED, '1');
  return {
    registry,
    mac,
    name,
    digest,
    pushed,
    async [Symbol.asyncDispose]() {
      await mac[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
    },
  };
}

test('push and pull take an image from one Mac to another, which can boot it', async () => {
  await using there = await published();
  const { registry, name, digest } = there;
  // The number of percentages between the first and the last depends on how long it takes.
  const written = there.pushed.stdout.split('\x1b[1A\x1b[2K');
  expect([written.at(0), written.at(-1)].join('')).toBe(
    [
      `pushing ${BASE} to ${name}:1...`,
      'pushing config...',
      'pushing disk... this will take a while...',
      '0%',
      '100%',
      'pushing NVRAM...',
      'pushing manifest for 1...',
    ].join('\n'),
  );
  await using here = await simulatedMac();
  const pulled = await here.tart('pull', `${name}@${digest}`, '--insecure');
  expect(pulled, pulled.stderr).toMatchObject({ exitCode: 0, stderr: '' });
  expect(pulled.stdout.split('\n').slice(0, 3)).toEqual([
    `pulling ${name}@${digest}...`,
    'pulling manifest...',
    'pulling disk (0.0 GB compressed)...',
  ]);
  expect(await here.names()).toEqual([BASE, `${name}@${digest}`]);
  expect(existsSync(join(here.home, 'cache/OCIs', registry.host.replace(':', '%3A'), TAGGED, digest))).toBe(true);
  await here.tart('clone', `${name}@${digest}`, 'vm');
  here.run('vm');
  using ssh = await there.mac.connectTo(await here.address('vm'));
  expect((await ssh.exec('echo alive')).stdout).toBe('alive\n');
});

test('a tag is a second row, goes to another image, and takes the former one with it', async () => {
  await using there = await published();
  const { registry, mac, name, digest } = there;
  await mac.tart('pull', `${name}:1`, '--insecure');
  expect(await mac.names()).toEqual([BASE, `${name}:1`, `${name}@${digest}`]);
  expect((await mac.tart('fqn', `${name}:1`)).stdout).toBe(`${name}@${digest}`);
  expect((await mac.tart('pull', `${name}:1`, '--insecure')).stdout).toContain('is already cached and linked!');
  await mac.tart('push', BASE, `${name}:1`, '--insecure');
  await mac.tart('pull', `${name}:1`, '--insecure');
  expect(registry.digestOf(TAGGED, '1')).not.toBe(digest);
  expect(await mac.names()).toEqual([BASE, `${name}:1`, `${name}@${registry.digestOf(TAGGED, '1')}`]);
  await mac.tart('delete', `${name}:1`);
  expect(await mac.names()).toEqual([BASE]);
});

test('a pull by digest asks the registry, and believes whatever manifest it gets', async () => {
  await using there = await published();
  const { registry, mac, name, digest } = there;
  await mac.tart('push', BASE, `${name}:2`, '--insecure');
  const other = registry.digestOf(TAGGED, '2');
  registry.lie(TAGGED, digest, other);
  expect((await mac.tart('pull', `${name}@${digest}`, '--insecure')).exitCode).toBe(0);
  expect((await mac.tart('fqn', `${name}@${digest}`)).stdout).toBe(`${name}@${other}`);
  const asked = registry.counts.manifestsPulled;
  await mac.tart('pull', `${name}@${digest}`, '--insecure');
  expect(registry.counts.manifestsPulled).toBe(asked + 1);
});

test('a connection that is cut goes on where it was, four times, and not a fifth', async () => {
  await using there = await published();
  const { registry, mac, name } = there;
  registry.cut(100, 2);
  const pulled = await mac.tart('pull', `${name}:1`, '--insecure');
  expect(pulled.exitCode, pulled.stderr).toBe(0);
  expect(pulled.stdout).toMatch(/Error pulling .*: "The network connection was lost.", attempting to re-try\.\.\./);
  await mac.tart('delete', `${name}:1`);
  registry.cut(10, 5);
  const failed = await mac.tart('pull', `${name}:1`, '--insecure');
  expect(failed).toMatchObject({ exitCode: 1, stderr: 'Error: The network connection was lost.' });
  expect(await mac.names()).toEqual([BASE]);
});

test('a registry without HTTPS needs --insecure, one that is away or has no such image is named', async () => {
  await using there = await published();
  const { mac, name } = there;
  expect(await mac.tart('pull', `${name}:1`)).toMatchObject({
    exitCode: 1,
    stderr: 'Error: An SSL error has occurred and a secure connection to the server cannot be made.',
  });
  expect((await mac.tart('pull', `${name}:9`, '--insecure')).stderr).toMatch(
    /^Error: UnexpectedHTTPStatusCode\(when: "pulling manifest", code: 404, details: /,
  );
  expect((await mac.tart('pull', `localhost:${await freePort()}/a:1`, '--insecure')).stderr).toBe(
    'Error: Could not connect to the server.',
  );
});

test('a second pull waits for the first one, and brings nothing again', async () => {
  await using there = await published();
  const { registry, mac, name } = there;
  registry.hold();
  const both = [0, 1].map(() => mac.start('pull', `${name}:1`, '--insecure'));
  await until(
    () => registry.counts.atOnce === 1 && both.some(({ said }) => said.stdout.includes('waiting for lock...')),
    'one is at work and the other waits',
  );
  registry.release();
  const said = (await Promise.all(both.map(({ ended }) => ended))).map(({ stdout }) => stdout);
  expect(said.filter((text) => text.includes('waiting for lock...'))).toHaveLength(1);
  expect(said.filter((text) => text.includes('pulling disk'))).toHaveLength(1);
  expect(registry.counts.mostAtOnce).toBe(1);
});

test('with CI the progress is plain lines', async () => {
  await using there = await published();
  const { mac, name } = there;
  const { stdout } = await mac.tartWith({ CI: '1' }, 'pull', `${name}:1`, '--insecure');
  expect(stdout).toContain('\n0%\n');
  expect(stdout).toContain('\n100%\n');
  expect(stdout).not.toContain('\x1b');
});
