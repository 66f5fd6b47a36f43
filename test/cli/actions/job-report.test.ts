import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BuildDetail } from '#contract';
import { annotationsOf } from '../../../cli/github-actions/annotations.ts';
import { outputText } from '../../../cli/github-actions/outputs.ts';
import { placeOfError } from '../../../cli/github-actions/place-of-error.ts';
import { SUMMARY_MAX_BYTES, stepSummary } from '../../../cli/github-actions/step-summary.ts';
import { printableLines } from '../../../client/printable.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { endedBuild } from './ended-build.ts';
import { heard, valuesIn } from './github-commands.ts';
import { hostileCommands as hostile } from './hostile-commands.ts';

test('an output has exactly its value, and no value sets another one', () => {
  fc.assert(
    fc.property(hostile, fc.array(hostile, { maxLength: 3 }), (url, paths) => {
      expect(valuesIn(outputText({ url: [url], 'artifact-path': paths }))).toEqual({
        url,
        'artifact-path': paths.join('\n'),
      });
    }),
  );
});

const APP_DELEGATE = '/Users/admin/.tartbeat/b_1-1/source/ios/Shop/AppDelegate.swift';

test('the line of the log leads to the file in the checkout, and never out of it', () => {
  using dir = temporaryDir();
  const root = join(dir.path, 'shop');
  for (const file of ['ios/Shop/AppDelegate.swift', 'src/App.tsx', '../outside.ts', 'Shop.swift']) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), '');
  }
  symlinkSync('../outside.ts', join(root, 'link.ts'));
  symlinkSync('..', join(root, 'up'));
  const PLACES: [line: string, place: ReturnType<typeof placeOfError>][] = [
    [`${APP_DELEGATE}:12:5: error: no such x`, { file: 'ios/Shop/AppDelegate.swift', line: 12, column: 5 }],
    ['src/App.tsx(3,14): error TS2322: Type x', { file: 'src/App.tsx', line: 3, column: 14 }],
    ['SyntaxError: /b/source/src/App.tsx: Unexpected token (7:2)', { file: 'src/App.tsx', line: 7, column: 2 }],
    ['e: file:///b/source/src/App.tsx:1 unresolved', { file: 'src/App.tsx', line: 1, column: undefined }],
    ['/b/source/src/Other.tsx:1:2: error', null],
    ['../outside.ts:1:2: error', null],
    ['/x/link.ts:1:2: error', null],
    ['/x/up/outside.ts:1:2: error', null],
    ['a/b/../../../outside.ts:1: error', null],
    ['no place', null],
  ];
  for (const [line, place] of PLACES) expect({ line, place: placeOfError(line, root) }).toEqual({ line, place });
  const build = endedBuild({ explained: `${APP_DELEGATE}:12:5: error: no such x` });
  expect(heard(annotationsOf(build, root).join('\n')).obeyed).toEqual([
    {
      name: 'error',
      properties: {
        title: 'ios: The build command failed',
        file: 'ios/Shop/AppDelegate.swift',
        line: '12',
        col: '5',
      },
      data: `A sentence.\nAn advice.\nThe log says: ${APP_DELEGATE}:12:5: error: no such x\nBuild b_1.`,
    },
  ]);
});

test('each end of a build has its own annotation, and a success has none', () => {
  const ENDS: [about: BuildDetail, level: string | null, words: string][] = [
    [endedBuild({}), null, ''],
    [endedBuild({ verdict: 'vm_silent' }), 'error', 'This is a fault of the farm. Another try may succeed.'],
    [endedBuild({ verdict: 'build_failed', telling: ['a.c:1: error: x'] }), 'error', 'a.c:1: error: x'],
    [endedBuild({ verdict: 'cancelled' }), 'warning', 'cancelled'],
    [endedBuild({ verdict: 'cancelled', supersededBy: 'b_2' }), 'notice', 'Build b_2 replaces it.'],
    [endedBuild({ store: 'The store says no' }), 'error', 'The store says: The store says no'],
  ];
  for (const [build, level, words] of ENDS) {
    const { obeyed } = heard(annotationsOf(build, '/nowhere').join('\n'));
    expect({ words, levels: obeyed.map(({ name }) => name) }).toEqual({ words, levels: level === null ? [] : [level] });
    expect(obeyed.map(({ data }) => data).join('')).toContain(words);
  }
});

const TAGS = /<\/?(?:h3|p|br|code|pre|table|tr|th|td|details|summary)(?: open)?>|<a href="https:\/\/[\w./-]+">|<\/a>/g;

test('the summary says how a build ended and what it made, in HTML of our own alone', () => {
  const build = endedBuild({ explained: 'ios/A.swift:1: error: no such x', artifact: 'Shop.ipa' });
  const install = { url: 'https://builds.example.com/i/abc', qrLines: ['█▀▀█', '█▄▄█'] };
  const shown = stepSummary([{ build, address: 'https://builds.example.com/api/builds/b_1', install }]);
  expect(shown).toMatchInlineSnapshot(`
    "<h3>❌ iOS, production: The build command failed</h3>

    <p>Build <code>b_1</code> at <code>https://builds.example.com/api/builds/b_1</code> · project <code>shop</code> · commit <code>4a1f0c7b9d</code> · took 30 s</p>

    <p>A sentence.<br>An advice.</p>

    <pre>ios/A.swift:1: error: no such x</pre>

    <details open><summary><a href="https://builds.example.com/i/abc">Install on a device</a></summary><pre>█▀▀█&#10;█▄▄█</pre></details>

    <table><tr><th>Artifact</th><th>Size</th><th>App</th><th>SHA-256</th></tr><tr><td><code>Shop.ipa</code></td><td>4.2 MB</td><td></td><td><code>bbbbbbbbbbbbbbbb</code></td></tr></table>

    <details><summary>Timeline</summary><table><tr><th>Time, UTC</th><th>After</th><th>Event</th><th>Attempt</th></tr><tr><td>10:00:05</td><td>5 s</td><td><code>claim</code></td><td>1</td></tr><tr><td>10:00:20</td><td>20 s</td><td><code>start</code></td><td>1</td></tr></table></details>

    "
  `);
  const evil =
    '</code></pre>\n\n# x <img src=x> [a](http://b) ![](http://b) @all `\u202e\u001b]52;c;eA==\u0007 &amp; "\'';
  const bad = endedBuild({
    explained: evil,
    artifact: evil,
    telling: [evil],
    message: evil,
    profile: evil,
    store: evil,
  });
  const page = stepSummary([{ build: bad, address: evil, install: null }]);
  for (const line of page.split('\n').filter(Boolean)) expect(line).toMatch(/^<(?:h3|p|pre|table|details)[> ]/);
  expect(printableLines(page)).toBe(page);
  expect(page.replaceAll(TAGS, '')).not.toMatch(/[<>"'\u202e]/);
  expect(page).toContain('&lt;img src=x&gt;');
});

test('the summary of very many things stays within what GitHub shows', () => {
  const many = endedBuild({ artifact: '😀'.repeat(400), telling: Array.from({ length: 10 }, () => '&'.repeat(500)) });
  many.artifacts = Array.from({ length: 200 }, () => many.artifacts[0]!);
  many.events = Array.from({ length: 5_000 }, () => many.events[0]!);
  const builds = Array.from({ length: 20 }, () => ({ build: many, address: 'x', install: null }));
  const page = stepSummary(builds);
  expect(Buffer.byteLength(page)).toBeLessThanOrEqual(SUMMARY_MAX_BYTES);
  expect(page).toMatch(/<p>There is more than a summary may have\.<\/p>\n\n$/);
});
