/**
 * Names the ways in which SSH fails, and tells them apart in the errors of ssh2 and of the socket.
 *
 * Invariant: callers decide by `kind`, never by the message.
 */

/**
 * refused   nothing listens; for a command: the guest gives no further session, so connect again
 * no_route  the network has no way to the address
 * timeout   no answer in time: while connecting, or until the command's own deadline
 * auth      the key or the host key is refused
 * silent    connected, but no SSH banner comes or keepalives stay unanswered: a frozen guest
 * closed    the connection or the channel ended
 * aborted   the agent's own signal
 * overflow  the command printed more than allowed
 */
export type SshErrorKind = 'refused' | 'no_route' | 'timeout' | 'auth' | 'silent' | 'closed' | 'aborted' | 'overflow';

export class SshError extends Error {
  override name = 'SshError';
  kind: SshErrorKind;
  constructor(kind: SshErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Codes of the socket which mean that the network does not lead to the address, or that macOS forbids it. */
const NO_ROUTE_CODES = ['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'EADDRNOTAVAIL', 'EPERM', 'EACCES'];

/** `where` is `host:port`. */
export function sshErrorOf(
  error: Error & { level?: string; code?: string },
  where: string,
  strangeHostKey: boolean,
): SshError {
  const cause = { cause: error };
  if (strangeHostKey)
    return new SshError(
      'auth',
      `${where} shows another host key than the pinned one; if the base image was changed, run \`expo-worker doctor --pin-host-key\``,
      cause,
    );
  if (error.level === 'client-authentication') return new SshError('auth', `${where} refuses the key`, cause);
  if (error.level === 'client-timeout') return new SshError('silent', `${where} no longer answers over SSH`, cause);
  if (error.code === 'ETIMEDOUT') return new SshError('timeout', `${where} did not answer`, cause);
  if (error.code === 'ECONNREFUSED') return new SshError('refused', `nothing listens at ${where}`, cause);
  if (NO_ROUTE_CODES.includes(error.code ?? ''))
    return new SshError('no_route', `no route to ${where} (${error.code})`, cause);
  return new SshError('closed', `the SSH connection to ${where} broke: ${error.message}`, cause);
}
