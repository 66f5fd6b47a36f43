/** Tests the percentage that reaches the heartbeat, alone and through a whole attempt of the real agent. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { ProgressHistory } from '#contract';
import { LogProgress } from '../../../worker-agent/build-log/progress.ts';
import { agentHost } from '../factories/agent-host.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';
import { standInController } from '../servers/stand-in-controller.ts';

const assignment = { command: 'npm ci && xcodebuild archive', platform: 'ios' as const, history: undefined };
const of = (agoMs: number, change = {}) =>
  new LogProgress({ assignment: { ...assignment, ...change }, commandStartedAtMs: Date.now() - agoMs });

test('what is read is parsed, and a build that was seen whole is a history', () => {
  const progress = of(0);
  progress.push(Buffer.from('Installing pods\nAnalyzing dependencies\n'));
  expect(progress.snapshot()).toMatchObject({ origin: 'parsed', etaMs: null });
  expect(ProgressHistory.parse(progress.history())).toMatchObject({ version: 1, builds: 1 });
});

test('with a history there is an estimate of the time left, until the command has ended', () => {
  const history = { version: 1 as const, builds: 3, phases: [{ id: 'xcode', durationMs: 600_000, lines: 9, work: 0 }] };
  const progress = of(60_000, { history });
  const { etaMs } = progress.snapshot();
  expect(etaMs).toBeGreaterThan(400_000);
  expect(etaMs).toBeLessThan(650_000);
  progress.end();
  expect(progress.snapshot().etaMs).toBeNull();
});

test('a log that was read again tells how far it is, and nothing to the next build', () => {
  const progress = of(10_000);
  progress.pushEarlier(Buffer.from('Analyzing dependencies\nDownloading dependencies\nInstalling Yoga (1.0)\n'), 1);
  expect(progress.snapshot()).toMatchObject({ origin: 'parsed' });
  expect(progress.history()).toBeUndefined();
});

test('a clock that was set back is no time', () => {
  const progress = of(-3_600_000);
  progress.push(Buffer.from('one\n'));
  expect(progress.snapshot().percent).toBeGreaterThanOrEqual(0);
});

async function emptySource(): Promise<Buffer> {
  using dir = temporaryDir();
  const { stdout } = await execa('tar', ['-czf', '-', '-C', dir.path, '.'], { encoding: 'buffer' });
  return Buffer.from(stdout);
}

test('phase, origin and time left reach the heartbeat, over a restart of the agent too; a known error is explained', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  using dir = temporaryDir();
  const goOn = join(dir.path, 'go-on');
  const build = controller.submit({
    id: 'b1',
    // On the simulator the guest sees the host's files.
    command: `echo 'Analyzing dependencies'; echo 'Installing Yoga (1.0)'; while ! [ -e '${goOn}' ]; do sleep 0.2; done; echo 'error: No space left on device'; exit 5`,
    source: await emptySource(),
  });
  const phases = [{ id: 'pods', durationMs: 300_000, lines: 9, work: 0 }];
  Object.assign(build.assignment, { history: { version: 1, builds: 1, phases } });
  const parsed = () => build.beats.filter(({ source, origin }) => source === 'agent' && origin === 'parsed');
  {
    await using first = host.startAgent();
    await until(() => parsed().length > 0, 'a parsed figure', 180_000).catch((error) => {
      throw new Error(`${error.message}\n${first.said()}`);
    });
    expect(parsed()[0]!.phase).toMatch(/pods/i);
    expect(parsed()[0]!.etaMs).toBeGreaterThan(0);
    first.signal('SIGKILL');
    await first.exited;
  }
  build.beats.length = 0;
  await using second = host.startAgent();
  await until(() => parsed().length > 0, 'a parsed figure after the restart', 180_000);
  writeFileSync(goOn, '');
  await host.attemptEnds(second);
  expect(build.reports.at(-1)).toMatchObject({
    verdict: 'build_failed',
    exitCode: 5,
    explained: { sentence: expect.stringContaining('disk'), line: expect.stringContaining('No space left') },
  });
});

test('where nothing is known of the error, the lines that may tell are reported, without secrets', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const secret = 'the-word-of-the-keeper';
  const build = controller.submit({
    id: 'b1',
    command: `echo "wick: the $MODE flame of $KEEPER is out"; exit 5`,
    source: await emptySource(),
    env: { MODE: 'production', KEEPER: secret },
    secretNames: ['KEEPER'],
  });
  await using agent = host.startAgent();
  await host.attemptEnds(agent);
  expect(build.reports.at(-1)).toMatchObject({
    verdict: 'build_failed',
    tellingLines: ['wick: the production flame of *** is out'],
  });
  expect(build.reports.at(-1)).not.toHaveProperty('explained');
});
