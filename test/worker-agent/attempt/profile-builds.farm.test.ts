/**
 * Runs builds of a profile by the real agent, beside a stand-in controller. In the image an expo.sh stands in
 * for the engine: it does what the real one does for the agent, and tells what it was given.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { JKS } from '../../client/signing/keystores.ts';
import { agentHost } from '../factories/agent-host.ts';
import { PATIENCE_MS } from '../factories/build-runs.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { until } from '../factories/until.ts';
import { standInController } from '../servers/stand-in-controller.ts';

const EAS_JSON = JSON.stringify({
  cli: { appVersionSource: 'remote' },
  build: { production: { autoIncrement: true, withoutCredentials: true, env: { API_URL: 'https://a' } } },
});
const APP = { name: 'Shop', slug: 'shop', version: '1.4.0', android: { package: 'com.example.shop', versionCode: 7 } };
const PACKAGE = JSON.stringify({ name: 'shop', dependencies: { expo: '~57.0.0' } });
const COMMON = { 'eas.json': EAS_JSON, 'package.json': PACKAGE, 'package-lock.json': '{}' };
const STATIC = { ...COMMON, 'app.json': JSON.stringify({ expo: APP }) };
const DYNAMIC = { ...COMMON, 'app.config.js': 'module.exports = () => ({})' };
const assigned = { profile: 'production', platform: 'android' } as const;
const base64 = (text: string) => Buffer.from(text).toString('base64');

const TELL = `echo "engine $engine, manager $manager, asks '$ask_number'"
printf '%s\\n' "$notes" | sed 's/^/note: /'
mkdir -p tartbeat-artifacts/logs && echo app >tartbeat-artifacts/App.apk
echo map >tartbeat-artifacts/logs/main.map
`;
const ASK = `printf '{"id":"com.example.shop","version":"1.4.0","buildNumber":7}' >"$TARTBEAT_STATE/app.json"
echo asking
until [ -s "$TARTBEAT_STATE/number" ]; do sleep 0.1; done
echo "number $(cat "$TARTBEAT_STATE/number")"
`;

async function hostWith(controllerUrl: string, expoScript: string) {
  const host = await agentHost(controllerUrl);
  writeFileSync(join(host.imageRoot, 'usr/local/share/tartbeat/guest/expo.sh'), expoScript);
  return host;
}

test('an agent that is killed between plan and start makes the plan again, and the build gets its one number', async () => {
  await using controller = await standInController();
  await using host = await hostWith(
    controller.url,
    `${TELL}[ "$(cat .env)" = KEY=a-secret-value ] && echo "$TARTBEAT_BUILD_NUMBER, $TOKEN."\nprintf '%s' "$job"`,
  );
  const build = controller.submit({
    id: 'b1',
    assigned,
    env: { TOKEN: 'a-secret-token' },
    secretNames: ['TOKEN'],
    secretFiles: { '.env': base64('KEY=a-secret-value\n') },
    source: await sourceArchive(STATIC),
  });
  // The VM cannot pass its checks.
  controller.intercept = ({ path }) => path === '/health';
  await using first = host.startAgent();
  await until(() => host.hasJournal('b1-1') && host.journal('b1-1').phase === 'booted', 'booted', PATIENCE_MS);
  first.signal('SIGKILL');
  await first.exited;
  expect(JSON.stringify(host.journal('b1-1'))).not.toContain('a-secret');
  controller.intercept = () => false;
  await using second = host.startAgent();
  await host.attemptEnds(second);
  expect(build.status, second.said()).toBe('succeeded');
  const request = { app: { id: 'com.example.shop', version: '1.4.0', buildNumber: 7 }, increment: true };
  expect(build.numbersAsked).toEqual([request, request]);
  const log = build.log.toString();
  expect(log).toMatch(/^engine plugin, manager npm, asks ''\nnote: .*without an Expo account/);
  expect(log).toContain('\n42, .\n');
  const { job } = JSON.parse(log.slice(log.lastIndexOf('{"job"')));
  expect(job).toMatchObject({ platform: 'android', version: { versionCode: '42' } });
  expect(job.secrets.environmentSecrets).toEqual([expect.objectContaining({ name: 'TOKEN', value: '***' })]);
  const { artifacts } = build.reports.at(-1) as { artifacts: { name: string }[] };
  expect(artifacts.map(({ name }) => name).sort()).toEqual(['App.apk', 'logs/main.map']);
  for (const said of [first.said(), second.said(), log]) expect(said).not.toContain('a-secret');
});

test('an agent that was started meanwhile gives the build its number, and masks passwords that the source has', async () => {
  await using controller = await standInController();
  const print = `cat credentials.json\n`;
  await using host = await hostWith(controller.url, ASK + print + TELL);
  const keystore = {
    keystorePath: 'up.jks',
    keystorePassword: 'geheim',
    keyAlias: 'upload',
    keyPassword: 'of-the-key',
  };
  const build = controller.submit({
    id: 'b1',
    assigned,
    secretFiles: { 'up.jks': JKS },
    source: await sourceArchive({
      ...DYNAMIC,
      'eas.json': EAS_JSON.replace('"withoutCredentials":true', '"credentialsSource":"local"'),
      'credentials.json': JSON.stringify({ android: { keystore } }),
    }),
  });
  controller.intercept = ({ path }) => path.endsWith('/number');
  await using first = host.startAgent();
  await until(() => build.log.includes('asking'), 'the build asks', PATIENCE_MS);
  first.signal('SIGKILL');
  await first.exited;
  controller.intercept = () => false;
  await using second = host.startAgent();
  await host.attemptEnds(second);
  expect(build.status, second.said()).toBe('succeeded');
  const log = build.log.toString();
  expect(log).toContain('asking\nnumber 42\n{"android":{"keystore":{"keystorePath":"up.jks"');
  expect(log).toContain('"keyPassword":"***"');
  expect(log).toContain("engine plugin, manager npm, asks '1'\n");
  const app = { id: 'com.example.shop', version: '1.4.0', buildNumber: 7 };
  expect(build.numbersAsked).toEqual([{ app, increment: true }]);
});

const UNCOUNTED = { 'eas.json': EAS_JSON.replace('"autoIncrement":true,', '') };

test("a profile that does not count keeps the project's own number where the app has no counter, and says so", async () => {
  await using controller = await standInController();
  await using host = await hostWith(controller.url, `[ -z "$ask_number" ] || { ${ASK} }\n${TELL}printf '%s' "$job"`);
  const number = 'number_not_seeded';
  const told = controller.submit({
    ...{ id: 'b1', assigned, number },
    source: await sourceArchive({ ...STATIC, ...UNCOUNTED }),
  });
  await using agent = host.startAgent();
  await host.attemptEnds(agent);
  expect(told.status, agent.said()).toBe('succeeded');
  expect(told.numbersAsked).toMatchObject([{ increment: false }]);
  const log = told.log.toString();
  expect(log).toMatch(/^note: Tartbeat has no counter .* so the project's own number stays\.$/m);
  const { job, metadata } = JSON.parse(log.slice(log.lastIndexOf('{"job"')));
  expect(job).not.toHaveProperty('version');
  expect(JSON.stringify(metadata)).not.toContain('NUMBER');

  // In the VM the build waits for a number in any case.
  const asks = controller.submit({
    ...{ id: 'b2', assigned, number },
    source: await sourceArchive({ ...DYNAMIC, ...UNCOUNTED }),
  });
  await host.attemptEnds(agent, 'b2');
  expect(asks.status, agent.said()).toBe('succeeded');
  expect(asks.log.toString()).toContain('asking\nnumber 7\n');
});

test('what a build writes as its app is shortened in messages, and refused if it is far too long', async () => {
  await using controller = await standInController();
  const write = 'printf \'{"id":"%*s"}\' "$LENGTH" \'$\' >"$TARTBEAT_STATE/app.json"; sleep 60';
  await using host = await hostWith(controller.url, write);
  await using _agent = host.startAgent();
  for (const [length, message] of [
    ['1000', /^The app config has the id " {59}…, which no store takes: correct/],
    ['100000', /app id, version and number \(app\.json .*\) has 4096 bytes or more: shorten them/],
  ] as const) {
    const build = controller.submit({
      ...{ id: `b${length}`, assigned, env: { LENGTH: length }, secretNames: [] },
      source: await sourceArchive(DYNAMIC),
    });
    await until(() => build.reports.some(({ type }) => type === 'fail'), 'the end', PATIENCE_MS);
    expect(build.reports.at(-1)).toMatchObject({
      ...{ type: 'fail', verdict: 'project_invalid', step: 'project' },
      message: expect.stringMatching(message),
    });
  }
});

test('a number that is refused in the VM ends the build as project_invalid, with its log and without artifacts', async () => {
  await using controller = await standInController();
  await using host = await hostWith(controller.url, ASK);
  const source = await sourceArchive(DYNAMIC);
  const build = controller.submit({ id: 'b1', assigned, number: 'number_not_seeded', source });
  await using agent = host.startAgent();
  await host.attemptEnds(agent);
  expect(build.reports.at(-1)).toMatchObject({
    ...{ type: 'fail', verdict: 'project_invalid', step: 'project', artifacts: [] },
    message: 'number_not_seeded by the stand-in',
  });
  expect(build.log.toString()).toBe('asking\n');
  expect(host.vms()).toEqual([]);
});
