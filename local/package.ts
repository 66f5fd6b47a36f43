/**
 * Compiles the agent and `expo-build` to dist/ for `npm pack` and `npm publish`, because Node strips no types
 * below node_modules.
 *
 * Invariant: dist/ contains exactly the compiled sources. It has a package.json of its own, so that
 * `#contract` is the compiled file there and the TypeScript file in this repository.
 */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const root = fileURLToPath(new URL('..', import.meta.url));
const inRoot = (path: string) => `${root}${path}`;

rmSync(inRoot('dist'), { recursive: true, force: true });
await execa('tsc', ['-p', 'tsconfig.package.json'], { cwd: root, preferLocal: true, stdio: 'inherit' });
const { name, version } = JSON.parse(readFileSync(inRoot('package.json'), 'utf8'));
const own = { name, version, type: 'module', imports: { '#contract': './controller/contract/index.js' } };
writeFileSync(inRoot('dist/package.json'), `${JSON.stringify(own, null, 2)}\n`);
for (const program of ['cli/expo-build.js', 'worker-agent/expo-worker.js']) chmodSync(inRoot(`dist/${program}`), 0o755);
