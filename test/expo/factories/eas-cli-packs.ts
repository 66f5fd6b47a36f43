/** Packs projects with the real eas-cli, as `eas build` does before it uploads one. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface PackedByEas {
  archive: string;
  tookMs: number;
}

const PACK_ALL = `
const from = require('node:module').createRequire(process.argv[1] + '/package.json');
const { default: GitClient } = from('./node_modules/eas-cli/build/vcs/clients/git.js');
const { makeProjectTarballAsync } = from('./node_modules/eas-cli/build/build/utils/repository.js');
(async () => {
  const packed = [];
  for (const folder of process.argv.slice(2)) {
    const begun = performance.now();
    const { path } = await makeProjectTarballAsync(new GitClient({ requireCommit: false, maybeCwdOverride: folder }));
    packed.push({ archive: path, tookMs: performance.now() - begun });
  }
  require('node:fs').writeFileSync(process.env.PACKED, JSON.stringify(packed));
})();
`;

/** `packages` has eas-cli in its node_modules. The archives lie below `dir`. */
export function packWithEasCli(packages: string, folders: readonly string[], dir: string): PackedByEas[] {
  mkdirSync(join(dir, 'tmp'), { recursive: true });
  const env = { ...process.env, TMPDIR: join(dir, 'tmp'), PACKED: join(dir, 'packed') };
  execFileSync(process.execPath, ['-e', PACK_ALL, packages, ...folders], { cwd: packages, env, stdio: 'pipe' });
  return JSON.parse(readFileSync(join(dir, 'packed'), 'utf8'));
}
