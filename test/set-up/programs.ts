/** Lists the programs that some tests need beside Node, and says where this machine has them. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

export type Program = 'bash' | 'bsdtar' | 'dash' | 'openssl' | 'ruby' | 'script' | 'sshd';

/** The packages that bring each program, and what the tests that need it are about. */
export const PROGRAMS: Record<Program, { packages: { debian: string; macos: string }; neededBy: string }> = {
  bash: { packages: { debian: 'bash', macos: 'bash' }, neededBy: 'the scripts that run in a VM' },
  bsdtar: { packages: { debian: 'libarchive-tools', macos: 'libarchive' }, neededBy: 'what the tar of macOS packs' },
  dash: { packages: { debian: 'dash', macos: 'dash' }, neededBy: 'the scripts that run in a VM' },
  openssl: { packages: { debian: 'openssl', macos: 'openssl' }, neededBy: 'certificates and provisioning profiles' },
  ruby: { packages: { debian: 'ruby', macos: 'ruby' }, neededBy: 'the lanes in Fastfile' },
  script: { packages: { debian: 'bsdutils', macos: 'script' }, neededBy: 'terminals' },
  sshd: { packages: { debian: 'openssh-server', macos: 'openssh' }, neededBy: 'SSH, against a real server' },
};

/** Where servers lie that are on the PATH of root alone. */
const MORE_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/sbin'];

export function pathOf(program: Program): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...MORE_FOLDERS];
  return folders.map((folder) => join(folder, program)).find(isExecutable) ?? null;
}

export const installCommand = (programs: readonly Program[]): string => {
  const macos = process.platform === 'darwin';
  const packages = programs.map((program) => PROGRAMS[program].packages[macos ? 'macos' : 'debian']);
  return `${macos ? 'brew install' : 'sudo apt-get install'} ${[...new Set(packages)].join(' ')}`;
};

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
