/**
 * Tests that logs and artifacts arrive complete, from the VM over the agent and the controller to the user.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LOG_COMPLETE_HEADER } from '#contract';
import { isPng } from '../../worker-agent/app-metadata/png.ts';
import { LOG_LIVE_BYTES, LOG_TAIL_BYTES, missingNote } from '../../worker-agent/build-log/spool.ts';
import { binaryPlist, INFO, iosFiles, ipa } from '../worker-agent/app-metadata/app-files.ts';
import { FaultFarm } from './factories/fault-farm.ts';
import type { FaultyBuild } from './factories/faulty-build.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2 });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

/** The log of the newest attempt. Waits until the log is sealed as complete. */
async function sealedLog({ id }: FaultyBuild, ask: (holds: () => Promise<boolean>, what: string) => Promise<void>) {
  const { url, secrets } = macs.farm.controller;
  let bytes = Buffer.alloc(0);
  await ask(async () => {
    const headers = { Authorization: `Bearer ${secrets.ADMIN_KEY}` };
    const response = await fetch(`${url}/api/builds/${id}/logs`, { headers, signal: AbortSignal.timeout(60_000) });
    bytes = Buffer.from(await response.arrayBuffer());
    return response.headers.get(LOG_COMPLETE_HEADER) === 'true';
  }, `the log of ${id} is complete`);
  return bytes;
}
const printed = (script: string): Buffer => execFileSync('bash', ['-c', script], { maxBuffer: 2 ** 28 });

test.concurrent('whatever bytes are printed are kept as they were', async () => {
  await using mac = await macs.take();
  const script = String.raw`printf '\033[1;31mred\033[0m 10%%\r 50%%\r100%%\n'; printf 'not UTF-8: \377\376\303\n'; printf 'a\0b\n'
for i in 1 2 3; do head -c 11000 /dev/zero | tr '\0' "$i"; echo; done; printf 'no newline at the end'`;
  const build = await mac.build({ command: script });
  await build.succeeds();
  const log = await sealedLog(build, (holds, what) => mac.until(holds, what));
  expect(log.toString('latin1')).toBe(printed(script).toString('latin1'));
  await mac.settles();
});

test.concurrent('of a burst longer than the cap the beginning, one line and the end arrive', async () => {
  await using mac = await macs.take();
  const lines = 1_600_000;
  const script = `awk 'BEGIN { for (i = 1; i <= ${lines}; i++) printf "line %07d of a build that prints very much\\n", i }'`;
  const build = await mac.build({ command: script });
  await build.succeeds();
  const log = await sealedLog(build, (holds, what) => mac.until(holds, what));
  const whole = printed(script);
  const missing = whole.length - LOG_LIVE_BYTES - LOG_TAIL_BYTES;
  expect(missing).toBeGreaterThan(0);
  const expected = Buffer.concat([
    whole.subarray(0, LOG_LIVE_BYTES),
    Buffer.from(missingNote(missing, LOG_LIVE_BYTES)),
    whole.subarray(-LOG_TAIL_BYTES),
  ]);
  expect([log.length, log.equals(expected)]).toEqual([expected.length, true]);
  await mac.settles();
});

test.concurrent('files, and folders as archives, arrive under their names; what leads out of the source does not', async () => {
  await using mac = await macs.take();
  const command = `mkdir -p out/App.xcarchive/bin dist; printf x >'dist/sp ace.txt'; printf y >dist/.hidden
printf tool >out/App.xcarchive/bin/tool; chmod 755 out/App.xcarchive/bin/tool; ln -s bin/tool out/App.xcarchive/link
printf outside >../outside.txt; ln -s ../outside.txt dist/link.txt
mkdir out/Shop.app; base64 -d >out/Shop.app/Info.plist <<END
${binaryPlist({ ...INFO, CFBundleSupportedPlatforms: ['iPhoneSimulator'] }).toString('base64')}
END
base64 -d >out/Shop.ipa <<END
${ipa(iosFiles()).toString('base64')}
END`;
  const artifacts = ['out/*.xcarchive', 'out/*.app', 'out/*.ipa', 'dist/**', { glob: '../*.txt', required: false }];
  const build = await mac.build({ command, artifacts });
  const { artifacts: listed } = await build.succeeds();
  expect(listed.map(({ name }) => name).sort()).toEqual([
    'dist/.hidden',
    'dist/sp ace.txt',
    'out/App.xcarchive.tar.gz',
    'out/Shop.app.tar.gz',
    'out/Shop.ipa',
  ]);
  // The metadata that the agent has read from the apps on its Mac.
  const apps = Object.fromEntries(listed.map(({ name, app }) => [name, app]));
  const said = { id: 'com.example.shop', name: 'Shop & Café', version: '1.4.0', buildNumber: '42' };
  expect(apps).toMatchObject({
    'out/App.xcarchive.tar.gz': null,
    'out/Shop.app.tar.gz': { ...said, kind: 'app', signing: 'simulator', icon: null },
    'out/Shop.ipa': { ...said, kind: 'ipa', signing: 'unsigned', icon: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  const { url, secrets } = macs.farm.controller;
  const icon = await fetch(`${url}/api/builds/${build.id}/icons/out/Shop.ipa`, {
    headers: { Authorization: `Bearer ${secrets.ADMIN_KEY}` },
  });
  expect(icon.headers.get('content-type')).toBe('image/png');
  expect(isPng(Buffer.from(await icon.arrayBuffer()))).toBe(true);
  const dir = mkdtempSync(join(tmpdir(), 'tartbeat-folder-'));
  try {
    const path = join(dir, 'App.xcarchive.tar.gz');
    const archive = listed.find(({ name }) => name.endsWith('.tar.gz'))!;
    const { sha256 } = await macs.farm.api.download(build.id, archive.name, path);
    expect(sha256).toBe(createHash('sha256').update(readFileSync(path)).digest('hex'));
    execFileSync('tar', ['-xzf', path, '-C', dir]);
    expect(execFileSync(join('test'), ['-x', join(dir, 'App.xcarchive/bin/tool')]).length).toBe(0);
    expect(readFileSync(join(dir, 'App.xcarchive/link'), 'utf8')).toBe('tool');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  await mac.settles();
});

test.concurrent('of a failed build the artifacts that say so are kept, and no others', async () => {
  await using mac = await macs.take();
  const build = await mac.build({
    command: 'mkdir Test.xcresult; echo 1 >Test.xcresult/log; echo 2 >app.ipa; exit 3',
    artifacts: ['app.ipa', { glob: '*.xcresult', onFailure: true }],
  });
  const { artifacts } = await build.fails({ verdict: 'build_failed' });
  expect(artifacts.map(({ name }) => name)).toEqual(['Test.xcresult.tar.gz']);
  await mac.settles();
});

test.concurrent('secrets reach the build, are on no command line, and are masked in its log', async () => {
  await using mac = await macs.take();
  const secret = `s3cret-${'x'.repeat(20)}-of-the-build`;
  const build = await mac.build({
    command: `ps -axww -o args >ps.txt 2>/dev/null; echo "seen $(grep -c "$TOKEN" ps.txt)"
echo "plain $TOKEN"; printf 'base64 '; printf 'user:%s' "$TOKEN" | base64 -w0; echo; printf %s "$TOKEN" | head -c 12; sleep 1; printf %s "$TOKEN" | tail -c +13; echo
[ "$(cat "$TARTBEAT_SECRETS/key.p8")" = "$TOKEN$TOKEN" ] && echo delivered`,
    env: { TOKEN: secret },
    secretFiles: { 'key.p8': Buffer.from(secret + secret).toString('base64') },
  });
  await build.succeeds();
  const log = (await sealedLog(build, (holds, what) => mac.until(holds, what))).toString();
  // The text before a secret changes one character of its base64 form, and the text behind it another.
  expect(log).toMatch(/^seen 0\nplain \*\*\*\nbase64 [\w+/]{1,8}\*\*\*[\w+/=]{0,4}\n\*\*\*\ndelivered\n$/);
  await mac.settles();
});
