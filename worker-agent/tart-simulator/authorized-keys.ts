/** Reads a guest's `authorized_keys`, as sshd does: one key a line, options in front of it. Pure. */
import ssh2 from 'ssh2';

export interface AuthorizedKey {
  key: ssh2.ParsedKey;
  /** Runs instead of what the client asks for, which it finds in SSH_ORIGINAL_COMMAND. */
  command: string | undefined;
}

const KEY_TYPES = /(?:^|\s)((?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521))\s+\S+)/;

export function parseAuthorizedKeys(text: string): AuthorizedKey[] {
  return text.split('\n').flatMap((line) => {
    const found = KEY_TYPES.exec(line);
    if (line.startsWith('#') || !found) return [];
    const key = ssh2.utils.parseKey(found[1]!);
    if (key instanceof Error) return [];
    const command = /(?:^|,)command="((?:[^"\\]|\\.)*)"/.exec(line.slice(0, found.index));
    return [{ key, command: command?.[1]?.replaceAll('\\"', '"') }];
  });
}
