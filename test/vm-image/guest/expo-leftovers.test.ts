/** Asks expo-leftovers.sh about folders of this machine itself, because a test can mount nothing. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stateFolder } from '../factories/guest-script.ts';

const FILE = join(import.meta.dirname, '../../../vm-image/guest/expo-leftovers.sh');

const isMountPoint = (folder: string): boolean => {
  const script = `state=; . '${FILE}'; if is_mount_point "$1"; then echo yes; else echo no; fi`;
  const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent' };
  return execFileSync('/bin/bash', ['-c', script, 'bash', folder], { env, encoding: 'utf8' }).trim() === 'yes';
};

test('a folder at which a file system is mounted is known, whatever awk and df the system has', () => {
  using state = stateFolder();
  const folder = realpathSync(state.path);
  const plain = join(folder, 'a folder');
  mkdirSync(plain);
  const mounted = ['/', '/proc', '/dev/shm', '/dev', '/System/Volumes/Data'].filter((path) => existsSync(path));
  for (const path of mounted) {
    expect(isMountPoint(path), path).toBe(true);
    const link = join(folder, `link${path.replaceAll('/', '-')}`);
    symlinkSync(path, link);
    expect(isMountPoint(link), link).toBe(true);
  }
  for (const path of [folder, plain, '/usr/bin', join(folder, 'none'), FILE])
    expect(isMountPoint(path), path).toBe(false);
});
