import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { biomeOverrides, LAYERS, TOP_LEVEL } from './layers.ts';

const ROOT = resolve(import.meta.dirname, '..');
const CONTRACT = 'controller/contract/index.ts';
const FOLDERS = [...Object.keys(TOP_LEVEL), 'test'];

/** The innermost top-level folder of a file: a key of TOP_LEVEL, or `test`. Empty for a file of the root. */
const folderOf = (file: string) =>
  FOLDERS.filter((folder) => file.startsWith(`${folder}/`)).reduce((a, b) => (a.length > b.length ? a : b), '');

const filesIn = (folder: string) => globSync(`${folder}/**/*.ts`, { cwd: ROOT, exclude: ['**/*.d.ts'] });

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const specifiers = [...text.matchAll(/^(?:import|export)\b[^;]*?from '([^']+)'|\bimport\('([^']+)'\)/gm)];
  const paths = specifiers.map(([, named, dynamic]) => (named ?? dynamic) as string);
  return paths.flatMap((path) =>
    path === '#contract' ? CONTRACT : path.startsWith('.') ? normalize(join(dirname(file), path)) : [],
  );
}

const topLevel = [...new Set(Object.keys(TOP_LEVEL).map((name) => name.split('/')[0]!))];
const imports = new Map(topLevel.flatMap(filesIn).map((file) => [file, importsOf(file)]));
const arrow = ({ from, to }: { from: string; to: string }) => `${from} → ${to}`;
const all = [...imports].flatMap(([from, targets]) => targets.map((to) => ({ from, to })));

test('top-level folders import what TOP_LEVEL lists, and the contract only as #contract', () => {
  const allowed = ({ from, to }: { from: string; to: string }) => {
    const [a, b] = [folderOf(from), folderOf(to)];
    const may: readonly string[] = TOP_LEVEL[a as keyof typeof TOP_LEVEL] ?? [];
    return a === b || to === 'package.json' || may.includes(b) || (to === CONTRACT && may.includes('#contract'));
  };
  expect(all.filter((edge) => !allowed(edge)).map(arrow)).toEqual([]);
});

test('only bench starts what belongs to the tests', () => {
  const names = (file: string) => /['"`](\.\.\/)*test\//.test(readFileSync(join(ROOT, file), 'utf8'));
  expect([...imports.keys()].filter((file) => !file.startsWith('bench/') && names(file))).toEqual([]);
});

test.for(Object.entries(LAYERS))('%s: each room imports only rooms below it', ([folder, layers]) => {
  const rows = new Map(
    (layers as readonly (readonly string[])[]).flatMap((row, index) => row.map((room) => [room as string, index])),
  );
  const roomOf = (file: string) =>
    file
      .slice(folder.length + 1)
      .replace(/\.ts$/, '')
      .split('/')[0]!;
  const inside = all.filter(({ from, to }) =>
    [from, to].every((file) => file.startsWith(`${folder}/`) && !file.includes('/tart-simulator/')),
  );
  const unknown = [...imports.keys()].filter(
    (file) => folderOf(file) === folder && !rows.has(roomOf(file)) && !isEntry(file),
  );
  expect(unknown, 'files without a row in LAYERS').toEqual([]);
  const wrong = inside.filter(({ from, to }) => {
    const [a, b] = [roomOf(from), roomOf(to)];
    return a !== b && !isEntry(from) && (isEntry(to) || rows.get(b)! <= rows.get(a)!);
  });
  expect(wrong.map(arrow)).toEqual([]);
});

test('the linter refuses what these tables refuse: `npx vitest run test/imports.test.ts -u` writes its file', async () => {
  const lines = biomeOverrides().map((override) => `    ${JSON.stringify(override)}`);
  const file = `{\n  "overrides": [\n${lines.join(',\n')}\n  ]\n}\n`;
  await expect(file).toMatchFileSnapshot('../biome.layers.json');
});

test('who starts whole Macs is among the farms', () => {
  const starters = globSync('test/**/*.test.ts', { cwd: ROOT }).filter((file) =>
    / from '.*\/factories\/agent-host\.ts'/.test(readFileSync(join(ROOT, file), 'utf8')),
  );
  expect(starters.length).toBeGreaterThan(10);
  expect(starters.filter((file) => !/\.farm\.test\.ts$|^test\/(faults|expo|cli\/farm)\//.test(file))).toEqual([]);
});

/** They start `expo-build`, an SSH server for scripts of the guest, and the simulated Tart. */
const STARTERS = [
  'test/cli/factories/started.ts',
  'test/vm-image/factories/guest-script.ts',
  'test/worker-agent/servers/openssh-server.ts',
  'test/worker-agent/tart-simulator/simulated-mac.ts',
];

test('who starts programs of ours is among the programs or the farms, so that `npm test` stays quick', () => {
  const ofTests = new Map(filesIn('test').map((file) => [file, importsOf(file)]));
  const reaches = (file: string): boolean =>
    STARTERS.includes(file) || (ofTests.get(file) ?? []).some((next) => next.startsWith('test/') && reaches(next));
  const starters = [...ofTests.keys()].filter((file) => file.endsWith('.test.ts') && reaches(file));
  expect(starters.length).toBeGreaterThan(50);
  const apart = /\.(programs|farm)\.test\.ts$|^test\/(vm-image|worker-agent\/tart-simulator|faults|expo|cli\/farm)\//;
  expect(starters.filter((file) => !apart.test(file))).toEqual([]);
});

/** The scripts of `local/` are what npm calls; they start a room of the same name. */
function isEntry(file: string) {
  return /^local\/(demo|chaos|dev)\.ts$/.test(file);
}

test('no file is in a circle of imports', () => {
  const circles: string[][] = [];
  const done = new Set<string>();
  const visit = (file: string, path: string[]) => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push([...path.slice(at), file]);
    if (at >= 0 || done.has(file)) return;
    for (const next of imports.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  expect(circles).toEqual([]);
});
