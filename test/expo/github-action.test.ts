/**
 * Tests that the action installs what it runs: from its own files as GitHub has checked them out, and from a
 * tarball. Needs the registry.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { GITHUB_JOBS } from '../cli/actions/github-events.ts';
import { runAction } from '../cli/actions/github-runner.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';

const INSTALL_MS = 600_000;

test('the action installs expo-build without its development tools, from its own files and from a tarball', {
  timeout: INSTALL_MS,
}, async () => {
  using dir = temporaryDir();
  const [actionPath, workspace] = ['action', 'workspace'].map((name) => join(dir.path, name));
  for (const folder of [actionPath!, workspace!]) mkdirSync(folder);
  const files = await execa('git', ['ls-files', '-z'], { cwd: PROJECT_ROOT });
  await execa('tar', ['--null', '-T', '-', '-cf', join(dir.path, 'action.tar')], {
    ...{ cwd: PROJECT_ROOT, input: files.stdout },
  });
  await execa('tar', ['-xf', join(dir.path, 'action.tar'), '-C', actionPath!]);
  await execa('npm', ['pack', '--silent', '--pack-destination', workspace!], {
    cwd: PROJECT_ROOT,
    timeout: INSTALL_MS,
  });

  for (const [index, cli] of ['', './tartbeat-0.1.0.tgz'].entries()) {
    const temp = join(dir.path, `temp-${index}`);
    mkdirSync(temp);
    const inputs = { url: 'https://builds.example.com', key: '', cli };
    const ended = await runAction({
      job: GITHUB_JOBS.fork,
      inputs,
      workspace: workspace!,
      temp,
      actionPath: actionPath!,
    });
    expect(ended, ended.log).toMatchObject({ outcome: 'success', outputs: { status: 'skipped' } });
  }
  const installed = join(actionPath!, 'node_modules');
  expect(['commander', 'zod'].every((name) => existsSync(join(installed, name)))).toBe(true);
  expect(['vitest', 'wrangler', 'typescript'].filter((name) => existsSync(join(installed, name)))).toEqual([]);
});
