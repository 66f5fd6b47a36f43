/** Makes keys for simulated Macs and VMs. A real agent gets its key from ssh-keygen. */
import ssh2 from 'ssh2';

/**
 * A new ed25519 pair in OpenSSH format. ssh2 itself cannot read about one pair in 300, because it drops a
 * zero at the beginning of the public key. Such a pair is made again.
 */
export function generateKeyPair(): { private: string; public: string } {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519');
    if (!(ssh2.utils.parseKey(pair.private) instanceof Error)) return pair;
  }
}
