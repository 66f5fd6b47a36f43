import type { KnownError } from './known-error.ts';

export const NETWORK: readonly KnownError[] = [
  {
    id: 'git_access',
    fetches: true,
    pattern:
      /^git@[^:]+: Permission denied \(publickey\)|^Host key verification failed\.|^fatal: Authentication failed for '([^']+)'|^fatal: could not read Username for/,
    sentence: 'Git was refused access to a private repository.',
    advice: 'Pass a deploy key or a token to the build; nobody can answer a question in a build.',
  },
  {
    id: 'tls_certificate',
    pattern:
      /(?:^|: |\()(?:SSL certificate problem: |unable to get local issuer certificate|self[- ]signed certificate in certificate chain)|code SELF_SIGNED_CERT_IN_CHAIN|curl: \(60\)/,
    sentence: 'The certificate of a server is not trusted in the VM.',
    advice:
      'Install the root certificate of your proxy in the base image and set NODE_EXTRA_CA_CERTS, or set the clock right.',
  },
  {
    id: 'name_not_resolved',
    fetches: true,
    pattern:
      /(?:^|: )Could not resolve host: (\S+)|^(?:npm (?:error|ERR!) |error |\w*Error: |\[!\] )(?:.*[: ])?getaddrinfo (?:ENOTFOUND|EAI_AGAIN) ([^\s"']+)/,
    atEnd: true,
    sentence: 'The VM could not find the address of $1$2.',
    advice: 'Check the network and DNS of the Mac and of the VM, then build again.',
  },
  {
    id: 'connection_failed',
    fetches: true,
    pattern:
      /^npm (?:error|ERR!) code (?:ECONNRESET|ETIMEDOUT|ECONNREFUSED|ERR_SOCKET_TIMEOUT)|^(?:npm (?:error|ERR!) |error |\w*Error: |\[!\] )(?:.*[: ])?(?:connect|read) (?:ECONNREFUSED|ECONNRESET|ETIMEDOUT)\b|^curl: \((?:7|28|35|52|56)\) |(?:^|: )The network connection was lost\.?$|^fatal: unable to access '[^']+': |^error .*: ESOCKETTIMEDOUT|^fatal: the remote end hung up unexpectedly/,
    atEnd: true,
    sentence: 'A connection to a server failed or was lost.',
    advice: 'Build again; if it stays, check the network of the VM, proxies and firewalls.',
  },
  {
    id: 'rate_limited',
    pattern:
      /^(?:npm (?:error|ERR!) |error |\w*Error: |\[!\] |fatal: |> )(?:.*[: ])?(?:429 Too Many Requests|(?:status code|error|HTTP|Response):? 429\b)|^npm (?:error|ERR!) code E429|^\[!\] CDN: trunk URL couldn't be downloaded.* Response: 429\b/,
    atEnd: true,
    sentence: 'A server refused the build because of too many requests.',
    advice: 'Build again later, or use a key or a cache of your own for that server.',
  },
];
