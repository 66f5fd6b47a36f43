import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localNames } from '../../cli/artifacts/local-names.ts';
import { saveArtifacts } from '../../cli/artifacts/save-artifacts.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { Connection } from '../../client/request.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { until } from '../worker-agent/factories/until.ts';
import { expoBuild, jsonLinesOf } from './factories/expo-build.ts';
import { type SharedFeeding, sharedFeeding } from './factories/fed-builds.ts';
import { expoBuildProcess, start } from './factories/started.ts';

let farm: SharedFeeding;
beforeAll(async () => {
  farm = await sharedFeeding();
});
afterAll(() => farm?.[Symbol.dispose]());

async function builtWith(artifacts: Record<string, string | Uint8Array>): Promise<string> {
  const { id, claims } = await farm.queuedBuild();
  const attempt = await claims();
  await attempt.starts();
  await attempt.succeeds(artifacts);
  return id;
}

test('artifacts go into a folder of their own under safe names, and what is there is neither replaced nor sent anew', async () => {
  const id = await builtWith({
    'ios/App.ipa': 'one',
    'android/app.ipa': 'two',
    '.npmrc': 'three',
    'dist/con.txt': 'four',
    'dist/a b:c\u202e.txt': 'five',
  });
  using dir = temporaryDir();
  const download = (...args: string[]) => expoBuild(['download', id, ...args], { cwd: dir.path, env: farm.env() });
  expect(await download()).toMatchObject({ code: 0, stderr: '' });
  const folder = join(dir.path, `expo-build-${id}`);
  const there = () =>
    Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
  const expected = {
    'app.ipa': 'two',
    'ios-App.ipa': 'one',
    _npmrc: 'three',
    '_con.txt': 'four',
    'a b_c_.txt': 'five',
  };
  expect(there()).toEqual(expected);

  const again = await download('--json');
  expect(again.code).toBe(0);
  expect(jsonLinesOf(again)).toHaveLength(5);
  writeFileSync(join(folder, 'app.ipa'), 'mine');
  expect(await download()).toMatchObject({ code: 2, stderr: expect.stringContaining('is another file') });
  expect(await download('con.txt')).toMatchObject({ code: 0 });
  expect(await download('nothing')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('has no artifact nothing'),
  });
  expect(there()).toEqual({ ...expected, 'app.ipa': 'mine' });
});

test('an artifact of one build that cannot be written ends neither the other build nor hides that it succeeded', async () => {
  const { pool, claims } = await farm.newWorker();
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'a.js'), '');
  const args = ['submit', '--platform', 'all', '--command', 'make', '--artifact', 'dist', '--pool', pool, '--to', 'to'];
  using submit = start([...args, '--project', 'default', '--json'], { cwd: dir.path, env: farm.env() });
  await submit.shows(/"type":"submitted"[\s\S]*"type":"submitted"/);
  const [ios, android] = submit
    .stdout()
    .split('\n')
    .flatMap((line) =>
      line.includes('"submitted"') ? [(JSON.parse(line) as { build: { id: string } }).build.id] : [],
    );
  const attempt = await claims(ios!);
  await attempt.starts();
  // This folder was not there when the builds were submitted.
  mkdirSync(join(dir.path, 'to/ios/dist.txt'), { recursive: true });
  await attempt.succeeds({ 'dist.txt': 'ios' });
  await submit.shows('Not all artifacts are here');
  const other = await claims(android!);
  await other.starts();
  await other.succeeds({ 'dist.txt': 'android' });
  expect(await submit.ended).toBe(1);
  expect(readFileSync(join(dir.path, 'to/android/dist.txt'), 'utf8')).toBe('android');
  expect(jsonLinesOf({ code: 1, stdout: submit.stdout(), stderr: '' }).at(-1)).toMatchObject({
    builds: [
      { buildId: ios, status: 'succeeded', exitCode: 1 },
      { buildId: android, status: 'succeeded', exitCode: 0 },
    ],
  });
});

test('nothing is written through a link, neither of the folder nor of a file', async () => {
  const id = await builtWith({ 'app.ipa': 'one' });
  using dir = temporaryDir();
  using outside = temporaryDir();
  const download = (to: string) => expoBuild(['download', id, '--to', to], { cwd: dir.path, env: farm.env() });
  symlinkSync(outside.path, join(dir.path, 'link'));
  for (const to of ['link', 'link/below', `expo-build/../link`])
    expect(await download(to)).toMatchObject({ code: 2, stderr: expect.stringContaining('is a link') });
  mkdirSync(join(dir.path, 'real'));
  symlinkSync(join(outside.path, 'planted'), join(dir.path, 'real/app.ipa'));
  expect(await download('real')).toMatchObject({ code: 2, stderr: expect.stringContaining('is another file') });
  expect(readdirSync(outside.path)).toEqual([]);
});

test('a download goes on after a broken connection, with no byte twice', async () => {
  const bytes = Buffer.alloc(3_000_000, 'artifact ');
  const id = await builtWith({ 'app.ipa': bytes });
  const { EXPO_BUILD_URL, EXPO_BUILD_KEY } = farm.env();
  const ranges: (string | undefined)[] = [];
  // Cuts the first answer with the file after a million bytes.
  const proxy = createServer((asked, answer) => {
    const isFile = asked.url?.includes('/artifacts/') === true;
    if (isFile) ranges.push(asked.headers.range);
    const isFirst = isFile && ranges.length === 1;
    const { method, headers } = asked;
    const onward = request(`${EXPO_BUILD_URL}${asked.url}`, { method, headers }, (response) => {
      answer.writeHead(response.statusCode!, response.headers);
      let sent = 0;
      let isCut = false;
      response.on('data', (part: Buffer) => {
        if (isCut) return;
        sent += part.length;
        const isLast = isFirst && sent > 1_000_000;
        isCut = isLast;
        answer.write(part, () => void (isLast && answer.destroy()));
      });
      response.on('end', () => isCut || answer.end());
    });
    asked.pipe(onward);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  using dir = temporaryDir();
  try {
    const { port } = proxy.address() as { port: number };
    const env = { EXPO_BUILD_URL: `http://127.0.0.1:${port}`, EXPO_BUILD_KEY };
    expect(await expoBuild(['download', id, '--to', 'dist'], { cwd: dir.path, env })).toMatchObject({ code: 0 });
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
  expect(ranges).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
  expect(readdirSync(join(dir.path, 'dist'))).toEqual(['app.ipa']);
  expect(readFileSync(join(dir.path, 'dist/app.ipa')).equals(bytes)).toBe(true);
  expect(existsSync(join(dir.path, 'app.ipa'))).toBe(false);
});

/** Holds the first answer with an artifact after its first bytes. */
class Holding extends Connection {
  readonly isHeld = Promise.withResolvers<void>();
  readonly goesOn = Promise.withResolvers<void>();
  #isFirst = true;
  override async open(...asked: Parameters<Connection['open']>) {
    const answer = await super.open(...asked);
    if (!this.#isFirst || !answer.body) return answer;
    this.#isFirst = false;
    const held = new TransformStream<Uint8Array, Uint8Array>({
      transform: async (part, to) => {
        to.enqueue(part);
        this.isHeld.resolve();
        await this.goesOn.promise;
      },
    });
    return new Response(answer.body.pipeThrough(held), answer);
  }
}

test('downloads of one artifact into one folder at the same time do not write to one file', async () => {
  const bytes = randomBytes(3_000_000);
  const id = await builtWith({ 'app.ipa': bytes });
  const build = await farm.api.build(id);
  const { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: key } = farm.env();
  const connection = new Holding({ url, key });
  const client = new BuildsClient(connection);
  const { signal } = new AbortController();
  using dir = temporaryDir();
  const folder = join(dir.path, 'dist');
  const first = saveArtifacts(client, build, { folder, names: null, signal, onSaved: () => {} });
  first.catch(() => {});
  await connection.isHeld.promise;
  await until(() => readdirSync(folder).some((name) => statSync(join(folder, name)).size > 0), 'a part is there');
  const second = await expoBuildProcess(['download', id, '--to', 'dist'], { cwd: dir.path, env: farm.env() });
  expect(second).toMatchObject({ code: 0, stderr: '' });
  await client.downloadArtifact(id, build.artifacts[0]!, join(folder, 'third.ipa'), { signal });
  connection.goesOn.resolve();
  await first;
  expect(readdirSync(folder).toSorted()).toEqual(['app.ipa', 'third.ipa']);
  for (const name of readdirSync(folder)) expect(readFileSync(join(folder, name)).equals(bytes), name).toBe(true);
});

test('whatever artifacts are named, each becomes one safe name of its own', () => {
  const part = fc.oneof(
    fc.constantFrom('a', 'A', 'App.ipa', 'app.ipa', '..a', 'aux', '-rf', 'ß', '\u202e'),
    fc.string(),
  );
  const name = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  fc.assert(
    fc.property(fc.uniqueArray(name, { maxLength: 12 }), (names) => {
      const local = [...localNames(names).values()];
      expect(new Set(local.map((one) => one.normalize('NFKC').toLowerCase())).size).toBe(names.length);
      for (const one of local) {
        expect(one).toMatch(/^[^-. /\\][^/\\\p{Cc}]*$|^_/u);
        expect(one).not.toMatch(/[. ]$/);
        expect(Buffer.byteLength(one)).toBeLessThan(256);
      }
    }),
    { numRuns: 500 },
  );
});
