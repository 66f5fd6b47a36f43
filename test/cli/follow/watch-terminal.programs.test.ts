/** Tests `expo-build watch` on a terminal, which script(1) makes. */
import { afterAll, beforeAll, expect } from 'vitest';
import { testWith } from '../../set-up/test-with.ts';
import { until } from '../../worker-agent/factories/until.ts';
import { type SharedFeeding, sharedFeeding } from '../factories/fed-builds.ts';
import { HOSTILE_LOG, HOSTILE_LOG_SHOWN } from '../factories/hostile-log.ts';
import { Screen } from '../factories/screen.ts';
import { startOnTerminal } from '../factories/started.ts';

const onTerminal = testWith('script');
let farm: SharedFeeding;
beforeAll(async () => {
  farm = await sharedFeeding();
});
afterAll(() => farm?.[Symbol.dispose]());

const runningBuild = () => farm.runningBuild();

onTerminal(
  'the log scrolls above one line that says how far the build is, in any width, and that is gone at the end',
  async () => {
    const { id, claims } = await farm.queuedBuild();
    const columns = 70;
    using watch = startOnTerminal(['watch', id], { env: farm.env(), columns });
    await watch.shows('Queued for');
    const attempt = await claims();
    await attempt.starts();
    await attempt.beats({ progress: 41, phase: 'Installing pods', etaMs: 360_000 });
    await watch.shows(/Installing pods 41 % · [3-6] min left · beat \d+ s ago · deadline in [01]:\d\d/);
    await attempt.prints('short\nunfinished');
    await watch.shows('unfinished');
    await attempt.prints(` and done\n${'日本'.repeat(40)}\n\x1b[32mgreen\nstill green\x1b[0m\n`);

    const screen = new Screen(columns);
    let fed = 0;
    const feed = () => {
      const all = watch.screen();
      screen.write(all.slice(fed));
      fed = all.length;
      return screen.lines();
    };
    const statusBelow = (text: string) => {
      const lines = feed();
      return lines.includes(text) && /^Installing pods 41 % · [3-6] min left · beat/.test(lines.at(-1)!);
    };
    await until(() => statusBelow('still green'), 'the log, and the status line below it');
    watch.resize(30);
    screen.resize(30);
    await until(() => feed().at(-1) === 'Installing pods 41 %', 'a narrow line').catch((error) => {
      throw new Error(`${error.message}\n${JSON.stringify(screen.lines())}`);
    });
    watch.resize(120);
    screen.resize(120);
    await until(() => /41 % · [3-6] min left · beat/.test(feed().at(-1)!), 'a wide line');
    await attempt.prints('last\n');
    await attempt.succeeds({ 'dist/app.ipa': 'ipa' });
    expect(await watch.ended).toBe(0);
    const lines = feed();
    expect(screen.orders).toEqual([]);
    expect(lines.filter((line) => line.includes('41 %')).length).toBeLessThanOrEqual(1);
    const log = lines.filter((line) => !/^(Build b_|It |Attempt |Installing pods|Succeeded|Artifact)/.test(line));
    expect(log).toEqual(['short', 'unfinished and done', '日本'.repeat(40), 'green', 'still green', 'last', '']);
    // The open colour goes on in the next line, although other text may come between.
    expect(watch.screen()).toContain('\x1b[32mstill green\x1b[0m');
  },
);

onTerminal(
  'Ctrl-C leaves the build alone and says how to come back; a second one asks whether to cancel it',
  async () => {
    const leave = await runningBuild();
    using first = startOnTerminal(['watch', leave.id], { env: farm.env() });
    await first.shows('It builds');
    first.type('\x03');
    await first.shows(`expo-build watch ${leave.id}`);
    expect(await first.ended).toBe(130);

    using second = startOnTerminal(['watch', leave.id], { env: farm.env() });
    await second.shows('It builds');
    for (const [keys, words] of [
      ['\x03', 'Press Ctrl-C again'],
      ['\x03', '(y/N)'],
      ['\x03', /\(y\/N\)[^(]*The build goes on/],
    ] as const) {
      second.type(keys);
      await second.shows(words);
    }
    expect(await second.ended).toBe(130);
    expect(await farm.api.build(leave.id)).toMatchObject({ status: 'building' });

    using third = startOnTerminal(['watch', leave.id], { env: farm.env() });
    await third.shows('It builds');
    third.type('\x03');
    await third.shows('Press Ctrl-C again');
    third.type('\x03');
    await third.shows('(y/N)');
    third.type('y\n');
    expect(await third.ended).toBe(3);
    expect(await farm.api.build(leave.id)).toMatchObject({ status: 'cancelled' });
  },
);

onTerminal('of a hostile log only text and colours reach the terminal', async () => {
  const { id, prints, succeeds } = await runningBuild();
  await prints(HOSTILE_LOG);
  await succeeds();
  for (const command of ['watch', 'logs']) {
    using shown = startOnTerminal([command, id], { env: farm.env(), columns: 200 });
    expect(await shown.ended).toBe(0);
    const screen = new Screen(200);
    screen.write(shown.screen());
    expect(screen.orders).toEqual([]);
    for (const line of HOSTILE_LOG_SHOWN) expect(screen.lines()).toContain(line);
  }
});
