/**
 * Measures how long it takes to pack a project of 30,000 files and 100 MB: with Tartbeat, with eas-cli, and
 * with `git ls-files | tar czf`.
 *
 *   npm run bench:pack [-- --rounds N] [-- --files N]
 *
 * All three take turns. It prints the medians, and the ratio of each of the others to Tartbeat's. It needs
 * the npm registry for eas-cli.
 */
import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeArchive } from '../client/packing/archive.ts';
import { listSource } from '../client/packing/list-source.ts';
import { PROJECT_ROOT } from '../local/farm/project-root.ts';
import { packWithEasCli } from '../test/expo/factories/eas-cli-packs.ts';
import { EAS_CLI, ENGINE, installed } from '../test/expo/factories/engine-packages.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, files: { type: 'string', default: '30000' } },
});
const [rounds = 0, fileCount = 0] = [values.rounds, values.files].map(Number);
if (![rounds, fileCount].every((count) => Number.isInteger(count) && count > 0)) {
  console.error('Give --rounds and --files as whole numbers from 1.');
  process.exit(64);
}
const MEAN_BYTES = 3_333;
const FOLDERS = 1_020;

const dir = mkdtempSync(join(tmpdir(), 'tartbeat-pack-'));
try {
  const packages = await installed([ENGINE, EAS_CLI]);
  const project = join(dir, 'project');
  const totalBytes = makeProject(project);
  const ours: number[] = [];
  const eas: number[] = [];
  const plain: number[] = [];
  const hashes = new Set<string>();
  for (let round = 1; round <= rounds; round++) {
    const begun = performance.now();
    hashes.add(await packOurs(project));
    ours.push(performance.now() - begun);
    eas.push(packWithEasCli(packages, [project], join(dir, `eas-${round}`))[0]!.tookMs);
    rmSync(join(dir, `eas-${round}`), { recursive: true });
    const plainBegun = performance.now();
    const command = 'git ls-files -z | tar --null -T - -czf ../plain.tar.gz';
    execFileSync('sh', ['-c', command], { cwd: project });
    plain.push(performance.now() - plainBegun);
    console.error(
      `round ${round}: ${[ours, eas, plain].map((all) => `${(all.at(-1)! / 1000).toFixed(1)} s`).join(', ')}`,
    );
  }
  if (hashes.size !== 1) throw new Error('the same project gave different archives');
  const figures = [ours, eas, plain].map(median);
  console.log(`
| packing of ${fileCount} files, ${(totalBytes / 1e6).toFixed(0)} MB, on ${availableParallelism()} cores, ${process.platform}, Node ${process.versions.node} | median of ${rounds} | Tartbeat's fits into it |
|---|---|---|
${['Tartbeat', 'eas-cli', '`git ls-files \\| tar czf`']
  .map(
    (name, at) => `| ${name} | ${(figures[at]! / 1000).toFixed(1)} s | ${(figures[at]! / figures[0]!).toFixed(2)} × |`,
  )
  .join('\n')}`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}

async function packOurs(project: string): Promise<string> {
  const { signal } = new AbortController();
  const { root, files } = await listSource({ appDir: project, signal });
  return (await writeArchive(root, files, join(dir, 'ours.tar.gz'), { signal })).sha256;
}

/** Fills the project with pieces of real JavaScript, in files of realistic sizes. */
function makeProject(project: string): number {
  const sources = globSync('node_modules/{zod,hono,miniflare,vitest}/**/*.{js,ts}', { cwd: PROJECT_ROOT }).sort();
  const pool = Buffer.concat(sources.slice(0, 2_000).map((path) => readFileSync(join(PROJECT_ROOT, path))));
  let seed = 1;
  const random = () => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
  let totalBytes = 0;
  for (let at = 0; at < fileCount; at++) {
    const path = join(project, `packages/p${at % 60}/src/d${at % 17}/f${at}.ts`);
    if (at < FOLDERS) mkdirSync(dirname(path), { recursive: true });
    const size = Math.floor(-Math.log(1 - random()) * MEAN_BYTES);
    const start = Math.floor(random() * (pool.length - size));
    totalBytes += size;
    writeFileSync(path, pool.subarray(start, start + size));
  }
  writeFileSync(join(project, '.gitignore'), 'node_modules\n*.log\nbuild/\n');
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost', ...args], { cwd: project });
  git('init', '-q');
  git('add', '.');
  git('commit', '-qm', 'all');
  return totalBytes;
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
