/** Keys for simulated Macs and VMs; a real agent has its own from ssh-keygen. */
import ssh2 from 'ssh2';

/**
 * A new ed25519 pair, OpenSSH format. ssh2 makes one of some 300 that it cannot read itself: it drops a zero at the beginning of the public
 * key.
 */
export function generateKeyPair(): { private: string; public: string } {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519');
    if (!(ssh2.utils.parseKey(pair.private) instanceof Error)) return pair;
  }
}
