/**
 * Makes a stand-in for the folder `vm-image/`: the real create-base-image.sh, with a provisioning that is
 * done at once. test/vm-image/ tests the real steps.
 *
 * In the simulator nobody can log in with a password. Here a key stands for the password, and an `ssh` on the
 * PATH takes it where the script would give the password.
 */
import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { generateKeyPair } from '../../../worker-agent/tart-simulator/key-pair.ts';

const VM_IMAGE = resolve(import.meta.dirname, '../../../vm-image');

/** The hash that the quick provisioning gives to each image. */
export const PROVISIONED = 'ab'.repeat(32);

const PROVISION = `#!/bin/sh
share=$TARTBEAT_ROOT/usr/local/share/tartbeat
keys=$HOME/.ssh/authorized_keys
mkdir -p "$share"
digest=$(sed -n 's/^digest=//p' "$share/image" 2>/dev/null)
while [ $# -gt 0 ]; do
  case $1 in
    --key-file) { grep ' password$' "$keys"; cat "$2"; } >"$keys.new" && mv "$keys.new" "$keys" && shift ;;
    --base-digest) digest=\${digest:-$2} && shift ;;
  esac
  shift
done
printf 'digest=%s\\nprovisioned=%s\\n' "$digest" ${PROVISIONED} >"$share/image"
printf '#!/bin/sh\\n' >"$TARTBEAT_ROOT/usr/local/bin/tartbeat-verify"
cp "$(dirname "$0")/release-image.sh" "$share/"
`;

const RELEASE = `#!/bin/sh
keys=$HOME/.ssh/authorized_keys
grep ' password$' "$keys" >"$keys.new" && mv "$keys.new" "$keys"
`;

/** `environment` is for the process that runs the script, and for the simulator's `tart`. */
export function quickVmImage(dir: string) {
  const scripts = join(dir, 'vm-image');
  const programs = join(dir, 'programs');
  const password = generateKeyPair();
  mkdirSync(join(scripts, 'provision'), { recursive: true });
  mkdirSync(programs, { recursive: true });
  for (const name of ['create-base-image.sh', 'provision/lib.sh', 'public-images'])
    cpSync(join(VM_IMAGE, name), join(scripts, name));
  const program = (path: string, text: string, mode = 0o755) => {
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  program(join(scripts, 'provision.sh'), PROVISION);
  program(join(scripts, 'release-image.sh'), RELEASE);
  const key = program(join(dir, 'password-key'), password.private, 0o600);
  const publicKey = program(join(dir, 'password-key.pub'), `${password.public} password\n`, 0o644);
  // ssh takes the first value that it is given for an option.
  const withPassword = `-i ${key} -o PubkeyAuthentication=yes -o PreferredAuthentications=publickey`;
  program(
    join(programs, 'ssh'),
    `#!/bin/sh
case "$*" in *PubkeyAuthentication=no*) exec /usr/bin/ssh ${withPassword} -o IdentitiesOnly=yes "$@" ;; esac
exec /usr/bin/ssh "$@"
`,
  );
  return {
    environment: {
      TARTBEAT_VM_IMAGE: scripts,
      TART_SIM_PUBLIC_KEY: publicKey,
      PATH: `${programs}${delimiter}${process.env.PATH}`,
    },
  };
}
