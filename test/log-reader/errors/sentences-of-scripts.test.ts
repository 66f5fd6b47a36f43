/**
 * Compares what the log reader knows of Tartbeat's own sentences with the scripts that print them. Both write
 * them word for word.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { KNOWN_ERRORS } from '../../../log-reader/errors/explain-failure.ts';
import { tartbeat } from '../../../log-reader/recognisers/tartbeat.ts';

const GUEST = new URL('../../../vm-image/guest/', import.meta.url);
const scripts = readdirSync(GUEST)
  .filter((name) => name.endsWith('.sh'))
  .map((name) => readFileSync(new URL(name, GUEST), 'utf8').replace(/ \\\n\s*/g, ' '));

/** Texts that stand for the variables and commands in a text. */
const FILLINGS = ['17', 'ios.bundleIdentifier'];

function wordsOf(words: string): string {
  return [...words.matchAll(/'([^']*)'|"((?:\\.|[^"\\])*)"/g)]
    .map(([, plain, quoted]) => plain ?? quoted!.replace(/\\(.)/g, '$1'))
    .join(' ');
}

/** Nested brackets are at most two deep. */
const filled = (text: string, filling: string): string =>
  text
    .replace(/\$\(\((?:[^()]|\([^()]*\))*\)\)|\$\((?:[^()]|\([^()]*\))*\)/g, filling)
    .replace(/\$\{[^}]*\}|\$[A-Za-z_0-9]+|%[sd]/g, filling);

/** `say` in a shell, `printf`, and `stop` in a program for node. */
const PRINTING =
  /\bsay +((?:(?:'[^']*'|"(?:\\.|[^"\\])*") ?)+)|printf '\[tartbeat\] ([^']*?)(?:\\n)?'|\bstop\(`((?:\\.|[^`\\])*)`\)/g;

/** Each text that a script prints as `[tartbeat] …`, with each filling. */
const printed = scripts
  .flatMap((script) => [...script.matchAll(PRINTING)])
  .map(([, words, format, template]) => format ?? template?.replace(/\\(.)/g, '$1') ?? wordsOf(words!))
  .flatMap((text) => FILLINGS.map((filling) => `[tartbeat] ${filled(text, filling)}`));

const own = KNOWN_ERRORS.flatMap(({ id, pattern }) =>
  pattern.source
    .split(/\|(?=\^)/)
    .filter((alternative) => alternative.includes('\\[tartbeat\\]'))
    .map((alternative) => [id, new RegExp(alternative)] as const),
);

test('the scripts print sentences, and the log reader knows some of them', () => {
  expect(printed.length).toBeGreaterThan(40);
  expect(own.length).toBeGreaterThan(12);
});

test.each(own)('%s stands in a script of the guest: %s', (_, pattern) => {
  expect(printed.filter((text) => pattern.test(text))).not.toEqual([]);
});

test('every stage that the log reader shows of these scripts is one that they print', () => {
  const recognise = tartbeat.create();
  const shown = new Set(printed.map((text) => recognise(text)).map((one) => one && (one.label ?? one.phase)));
  const labels = ['Reading the app config', 'Waiting for the build number', 'Asking Expo for the profile'];
  expect([...shown]).toEqual(expect.arrayContaining(['Installing 17 17', 'install', ...labels]));
});
