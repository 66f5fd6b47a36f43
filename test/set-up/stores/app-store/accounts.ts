/** Keeps the keys of the stand-in of App Store Connect, and checks the tokens that are signed with them. */
import { generateKeyPairSync, type KeyObject, randomInt, randomUUID, verify } from 'node:crypto';
import type { AppleAccountOptions, AppleKey } from './control.ts';
import { Refused } from './refusals.ts';

/** Apple allows 20 minutes. We allow ourselves ten. */
const LIFE_MAX_S = 600;

export interface Account extends Required<AppleAccountOptions> {
  keyId: string;
  issuerId: string | null;
  publicKey: KeyObject;
  revoked: boolean;
}

export class Accounts {
  readonly #accounts = new Map<string, Account>();
  readonly #violations: string[];

  constructor(violations: string[]) {
    this.#violations = violations;
  }

  add({ role = 'APP_MANAGER', individual = false, refusesScopes = false, team }: AppleAccountOptions): AppleKey {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const keyId = Array.from({ length: 10 }, () => 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'[randomInt(32)]).join('');
    const issuerId = individual ? null : randomUUID();
    const of = { keyId, issuerId, publicKey, role, individual, refusesScopes, team: team ?? keyId };
    this.#accounts.set(keyId, { ...of, revoked: false });
    return { keyId, issuerId, privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
  }

  revoke(keyId: string): void {
    const account = this.#accounts.get(keyId);
    if (account) account.revoked = true;
  }

  /** The account of the token. @throws {Refused} */
  callerOf(authorization: string | undefined, method: string, url: URL): Account {
    const token = /^Bearer (\S+)$/.exec(authorization ?? '')?.[1] ?? '';
    const [header, claims, signature] = token.split('.');
    const { kid, alg, typ } = parsed(header);
    const account = this.#accounts.get(String(kid));
    const key = account && { key: account.publicKey, dsaEncoding: 'ieee-p1363' as const };
    const bytes = Buffer.from(signature ?? '', 'base64url');
    if (!key || !verify('sha256', Buffer.from(`${header}.${claims}`), key, bytes)) throw new Refused('unauthenticated');
    const faults = this.#faultsOf(
      account,
      { alg, typ, ...parsed(claims) },
      `${method} ${url.pathname}${decodeURIComponent(url.search.replaceAll('+', ' '))}`,
    );
    if (faults.length > 0) this.#violations.push(`a token has a wrong ${faults.join(', ')}`);
    if (faults.length > 0 || account.revoked) throw new Refused('unauthenticated');
    if (account.refusesScopes && 'scope' in parsed(claims)) throw new Refused('unauthenticated');
    return account;
  }

  #faultsOf(account: Account, token: Record<string, unknown>, request: string): string[] {
    const now = Date.now() / 1000;
    const [exp, iat] = [Number(token.exp), Number(token.iat)];
    const right = {
      alg: token.alg === 'ES256',
      typ: token.typ === 'JWT',
      aud: token.aud === 'appstoreconnect-v1',
      exp: exp > now,
      iat: iat <= now,
      life: exp - iat <= LIFE_MAX_S,
      issuer: account.individual ? token.sub === 'user' && !('iss' in token) : token.iss === account.issuerId,
      scope:
        !('scope' in token) ||
        (request.startsWith('GET ') && JSON.stringify(token.scope) === JSON.stringify([request])),
    };
    return Object.entries(right).flatMap(([name, fits]) => (fits ? [] : [name]));
  }
}

function parsed(part: string | undefined): Record<string, unknown> {
  try {
    return JSON.parse(Buffer.from(part ?? '', 'base64url').toString());
  } catch {
    return {};
  }
}
