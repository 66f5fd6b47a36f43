/**
 * Tests what the real agent does before it makes a VM, and what a build then finds in it, beside a stand-in
 * controller.
 */
import { expect, test } from 'vitest';
import { ArtifactGlob } from '#contract';
import { agentHost } from '../factories/agent-host.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { standInController } from '../servers/stand-in-controller.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const app = { id: 'com.example.app', version: '1.4.0' };

test('a profile that cannot be built is project_invalid before any VM is made, and says nothing secret', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const build = controller.submit({
    id: 'b1',
    assigned: { profile: 'production', projectRoot: 'apps/secret-word' },
    env: { TOKEN: 'secret-word' },
    secretNames: ['TOKEN'],
    source: await sourceArchive({ 'apps/mobile/eas.json': '{}' }),
  });
  await using agent = host.startAgent();
  await host.attemptEnds(agent);
  expect(build.reports).toEqual([
    expect.objectContaining({
      type: 'fail',
      verdict: 'project_invalid',
      step: 'project',
      message: expect.stringMatching(/^The source has no folder "apps\/\*\*\*", which `projectRoot` of the request/),
    }),
  ]);
  expect(build.reports[0]).not.toHaveProperty('evidence');
  expect(agent.has({ type: 'step', step: 'clone' })).toBe(false);
  expect(agent.said()).not.toContain('secret-word');
});

test("a number that is refused ends the build with the controller's sentence before any VM is made", async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const source = await sourceArchive({ a: '' });
  const build = controller.submit({ id: 'b1', assigned: { app }, number: 'number_not_seeded', source });
  await using agent = host.startAgent();
  await host.attemptEnds(agent);
  expect(build.reports).toEqual([
    expect.objectContaining({
      ...{ type: 'fail', verdict: 'project_invalid', step: 'project', message: 'number_not_seeded by the stand-in' },
    }),
  ]);
  expect(agent.has({ type: 'step', step: 'clone' })).toBe(false);
});

test('a number that rights or limits refuse is not said to be a fault of the source', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const source = await sourceArchive({ a: '' });
  const build = controller.submit({ id: 'b1', assigned: { app }, number: 'forbidden', source });
  await using agent = host.startAgent();
  await host.attemptEnds(agent);
  expect(build.reports).toEqual([
    expect.objectContaining({
      ...{ type: 'fail', verdict: 'project_invalid', step: 'project' },
      message: 'The controller refuses the build its number: forbidden by the stand-in',
    }),
  ]);
});

test('a command finds its number, where its source comes from, and its secret files at their places', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const build = controller.submit({
    id: 'b1',
    command: `cat apps/mobile/.env "$TARTBEAT_SECRETS/apps/mobile/.env" | tr a-z A-Z
stat -c %a apps/mobile/.env
echo "$TARTBEAT_BUILD_NUMBER|$TARTBEAT_GIT_BRANCH|$EAS_BUILD_GIT_COMMIT_HASH|$SENTRY_RELEASE"
cp apps/mobile/app.json out.json`,
    assigned: { app, origin: { branch: "it's $(id)", commit: 'c'.repeat(40) } },
    env: { SENTRY_RELEASE: 'mine' },
    secretNames: [],
    secretFiles: { 'apps/mobile/.env': base64('KEY=a-secret-value\n') },
    source: await sourceArchive({ 'apps/mobile/app.json': '{}', 'apps/mobile/.env': 'of the source\n' }),
    artifactGlobs: [ArtifactGlob.parse({ glob: '**' })],
  });
  await using agent = host.startAgent();
  await host.attemptEnds(agent);
  expect(build.status, agent.said()).toBe('succeeded');
  expect(build.numbersAsked).toEqual([{ app, increment: true }]);
  const line = 'KEY=A-SECRET-VALUE';
  expect(build.log.toString()).toBe(`${line}\n${line}\n600\n42|it's $(id)|${'c'.repeat(40)}|mine\n`);
  const { artifacts } = build.reports.at(-1) as { artifacts: { name: string }[] };
  expect(artifacts.map(({ name }) => name).sort()).toEqual(['apps/mobile/app.json', 'out.json']);
});

test('a secret file whose place is a folder of the source is project_invalid', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const build = controller.submit({
    id: 'b1',
    command: 'true',
    secretFiles: { apps: base64('a file') },
    source: await sourceArchive({ 'apps/mobile/app.json': '{}' }),
  });
  await using agent = host.startAgent();
  await host.attemptEnds(agent);
  expect(build.reports).toEqual([
    expect.objectContaining({
      ...{ type: 'fail', verdict: 'project_invalid', step: 'project' },
      message: expect.stringContaining('The secret file apps cannot be laid into the source'),
    }),
  ]);
});
