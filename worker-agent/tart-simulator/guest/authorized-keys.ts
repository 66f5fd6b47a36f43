/** Reads a guest's `authorized_keys`, as sshd does: one key a line, options in front of it. Pure. */
import ssh2 from 'ssh2';

export interface AuthorizedKey {
  key: ssh2.ParsedKey;
  /** Runs instead of what the client asks for, which it finds in SSH_ORIGINAL_COMMAND. */
  command: string | undefined;
}

/**
 * Known to sshd, and without an effect here: there is no forwarding and no terminal that they could take away or give. With an option that it
 * does not know, sshd does not take the key at all.
 */
const WITHOUT_EFFECT =
  /^(restrict|(no-)?(port-forwarding|x11-forwarding|agent-forwarding|pty|user-rc|touch-required)|verify-required)$/i;
const KEY = /^(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521))\s+\S+/;
const OPTION = /([A-Za-z0-9-]+)(?:="((?:[^"\\]|\\.)*)")?(,|[ \t]+)/y;

export function parseAuthorizedKeys(text: string): AuthorizedKey[] {
  return text.split('\n').flatMap((line) => {
    const options = KEY.test(line.trim()) ? { command: undefined, rest: line.trim() } : readOptions(line.trim());
    const found = options && KEY.exec(options.rest);
    const key = found && ssh2.utils.parseKey(found[0]);
    return !key || key instanceof Error ? [] : [{ key, command: options.command }];
  });
}

/** Up to the first blank outside of quotes; null if it is a comment, or says anything that is not understood. */
function readOptions(line: string): { command: string | undefined; rest: string } | null {
  let command: string | undefined;
  OPTION.lastIndex = 0;
  for (let match = OPTION.exec(line); match; match = OPTION.exec(line)) {
    const [, name = '', value, separator] = match;
    if (name.toLowerCase() === 'command' && value !== undefined) command ??= value.replaceAll('\\"', '"');
    else if (!WITHOUT_EFFECT.test(name) || value !== undefined) return null;
    if (separator !== ',') return { command, rest: line.slice(OPTION.lastIndex) };
  }
  return null;
}
