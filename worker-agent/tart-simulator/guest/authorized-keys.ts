/** Reads a guest's `authorized_keys` as sshd does: one key a line, with options before it. Pure. */
import ssh2 from 'ssh2';

export interface AuthorizedKey {
  key: ssh2.ParsedKey;
  /** Runs instead of the client's command, which it finds in SSH_ORIGINAL_COMMAND. */
  command: string | undefined;
  /** Whether the key may open a terminal. */
  terminal: boolean;
}

/**
 * Options that sshd knows. Except for terminals they have no effect here, because this server forwards
 * nothing. sshd refuses a key with an option that it does not know.
 */
const KNOWN =
  /^(restrict|(no-)?(port-forwarding|x11-forwarding|agent-forwarding|pty|user-rc|touch-required)|verify-required)$/i;
const KEY = /^(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521))\s+\S+/;
const OPTION = /([A-Za-z0-9-]+)(?:="((?:[^"\\]|\\.)*)")?(,|[ \t]+)/y;

export function parseAuthorizedKeys(text: string): AuthorizedKey[] {
  return text.split('\n').flatMap((line) => {
    const options = KEY.test(line.trim())
      ? { command: undefined, terminal: true, rest: line.trim() }
      : readOptions(line.trim());
    const found = options && KEY.exec(options.rest);
    const key = found && ssh2.utils.parseKey(found[0]);
    return !key || key instanceof Error ? [] : [{ key, command: options.command, terminal: options.terminal }];
  });
}

/** Reads up to the first blank outside of quotes. Null for a comment, or if any option is unknown. */
function readOptions(line: string): { command: string | undefined; terminal: boolean; rest: string } | null {
  let command: string | undefined;
  let terminal = true;
  OPTION.lastIndex = 0;
  for (let match = OPTION.exec(line); match; match = OPTION.exec(line)) {
    const [, name = '', value, separator] = match;
    if (name.toLowerCase() === 'command' && value !== undefined) command ??= value.replaceAll('\\"', '"');
    else if (!KNOWN.test(name) || value !== undefined) return null;
    if (/^(restrict|no-pty)$/i.test(name)) terminal = false;
    if (/^pty$/i.test(name)) terminal = true;
    if (separator !== ',') return { command, terminal, rest: line.slice(OPTION.lastIndex) };
  }
  return null;
}
