/** Keeps the service accounts of the stand-in of Google Play: their keys, and the access tokens they get. */
import { createVerify, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { PlayAccountOptions } from './control.ts';
import { Refused } from './refusals.ts';

const SCOPE = 'https://www.googleapis.com/auth/androidpublisher';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

/** Google takes assertions of an hour. Ours are shorter. */
const OURS_MAX_S = 600;

interface Account {
  keyIds: Set<string>;
  publicKey: string;
  apps: string[];
}

const invalidGrant = (description: string) =>
  new Refused(400, { error: 'invalid_grant', error_description: description });

export class PlayAccounts {
  readonly #accounts = new Map<string, Account>();
  readonly #tokens = new Map<string, string>();
  readonly #violations: string[];
  /**
   * Making an RSA key takes long, so all accounts have the same, each under an id of its own. It is half as
   * long as Google's, because each signature then takes a fraction of the time.
   */
  #pair: { publicKey: string; privateKey: string } | null = null;

  constructor(violations: string[]) {
    this.#violations = violations;
  }

  /** The text of the key file. An account that is there gets a further key. */
  add(email: string, { apps, tokenUri = 'https://oauth2.googleapis.com/token' }: PlayAccountOptions): string {
    this.#pair ??= generateKeyPairSync('rsa', {
      modulusLength: 1024,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const keyId = randomBytes(20).toString('hex');
    const keyIds = (this.#accounts.get(email)?.keyIds ?? new Set()).add(keyId);
    this.#accounts.set(email, { keyIds, publicKey: this.#pair.publicKey, apps });
    return JSON.stringify({
      type: 'service_account',
      project_id: 'tests',
      private_key_id: keyId,
      private_key: this.#pair.privateKey,
      client_email: email,
      client_id: '1',
      auth_uri: 'https://accounts.google.com/o/oauth2/auth',
      token_uri: tokenUri,
      auth_provider_x509_cert_url: 'https://www.googleapis.com/oauth2/v1/certs',
      universe_domain: 'googleapis.com',
    });
  }

  /** The account that an assertion names, whether or not it is right. */
  static named(form: string): string {
    const claims = new URLSearchParams(form).get('assertion')?.split('.')[1] ?? '';
    try {
      return String(JSON.parse(Buffer.from(claims, 'base64url').toString()).iss);
    } catch {
      return '';
    }
  }

  /** Answers the form that asks for an access token at `tokenUrl`. */
  token(form: string, tokenUrl: string): object {
    const fields = new URLSearchParams(form);
    if (fields.get('grant_type') !== GRANT) throw new Refused(400, { error: 'unsupported_grant_type' });
    const assertion = fields.get('assertion') ?? '';
    const [header, claims, signature] = assertion.split('.').map((part) => Buffer.from(part, 'base64url'));
    if (!header || !claims || !signature) throw invalidGrant('Bad Request');
    const { alg, typ, kid } = JSON.parse(header.toString());
    const { iss, scope, aud, iat, exp } = JSON.parse(claims.toString());
    const account = this.#accounts.get(iss);
    if (!account) throw invalidGrant('Invalid grant: account not found');
    const signed = assertion.slice(0, assertion.lastIndexOf('.'));
    const right = createVerify('RSA-SHA256').update(signed).verify(account.publicKey, signature);
    if (alg !== 'RS256' || !account.keyIds.has(kid) || !right) throw invalidGrant('Invalid JWT Signature.');
    const now = Date.now() / 1000;
    if (!(iat <= now + 60 && exp > now && exp - iat <= 3600))
      throw invalidGrant('Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.');
    if (aud !== tokenUrl) throw invalidGrant('Invalid JWT: Failed audience check.');
    if (scope !== SCOPE) throw new Refused(400, { error: 'invalid_scope' });
    if (typ !== 'JWT') this.#violations.push('an assertion is not of the type JWT');
    if (exp - iat > OURS_MAX_S) this.#violations.push(`an assertion is valid for ${exp - iat} s`);
    const token = `ya29.c.${randomBytes(48).toString('base64url')}`;
    this.#tokens.set(token, iss);
    return { access_token: token, expires_in: 3599, token_type: 'Bearer' };
  }

  /** The account of an `Authorization` header. Null: Google does not know the token. */
  ofHeader(authorization: string | undefined): { email: string; apps: string[] } | null {
    const email = this.#tokens.get(/^Bearer (\S+)$/.exec(authorization ?? '')?.[1] ?? '');
    const account = email === undefined ? undefined : this.#accounts.get(email);
    return email !== undefined && account ? { email, apps: account.apps } : null;
  }

  /** Revokes a key, also one of which only the id is known. Tokens that were given for it stay. */
  revoke(keyId: string): void {
    for (const { keyIds } of this.#accounts.values()) keyIds.delete(keyId);
  }

  endTokens(email: string): void {
    for (const [token, owner] of this.#tokens) if (owner === email) this.#tokens.delete(token);
  }
}
