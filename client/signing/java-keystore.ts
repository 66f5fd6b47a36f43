/**
 * Checks an Android keystore, in Java's old form (JKS) or as PKCS#12: its password, and whether it has the
 * alias. Pure.
 */
import { createHash } from 'node:crypto';
import { looksLikePkcs12, openPkcs12 } from './pkcs12.ts';

/** A keystore has some KB. */
const KEYSTORE_MAX_BYTES = 1024 * 1024;

export type KeystoreFault = 'no_keystore' | 'wrong_password' | 'no_alias';

const JKS_MAGIC = 0xfeedfeed;
/** Java's other form (JCEKS), whose password is not checked here. */
const OTHER_MAGIC = 0xcececece;
/** Java adds it to the password before it hashes a keystore. */
const JKS_PHRASE = 'Mighty Aphrodite';
const SHA1_BYTES = 20;

/** Null if this check finds no fault. */
export function faultOf(content: Buffer, password: string, alias: string): KeystoreFault | null {
  if (content.length < 12 || content.length > KEYSTORE_MAX_BYTES) return 'no_keystore';
  if (content.readUInt32BE(0) === JKS_MAGIC) return faultOfJks(content, password, alias);
  if (content.readUInt32BE(0) === OTHER_MAGIC) return null;
  if (!looksLikePkcs12(content)) return 'no_keystore';
  const opened = openPkcs12(content, password);
  if (!('refused' in opened)) return hasAlias(opened.names, alias) ? null : 'no_alias';
  // Java knows algorithms that this code does not, so a keystore that cannot be checked is no fault.
  if (opened.refused === 'unknown_algorithm' || opened.refused === 'too_many_rounds') return null;
  return opened.refused === 'no_pkcs12' ? 'no_keystore' : 'wrong_password';
}

/** Java ignores the case of aliases. A keystore without names passes. */
const hasAlias = (names: readonly string[], alias: string): boolean =>
  names.length === 0 || names.some((name) => name.toLowerCase() === alias.toLowerCase());

function faultOfJks(content: Buffer, password: string, alias: string): KeystoreFault | null {
  const body = content.subarray(0, -SHA1_BYTES);
  const made = createHash('sha1')
    .update(Buffer.from(password, 'utf16le').swap16())
    .update(JKS_PHRASE)
    .update(body)
    .digest();
  if (!made.equals(content.subarray(-SHA1_BYTES))) return isWhole(body) ? 'wrong_password' : 'no_keystore';
  return hasAlias(aliasesIn(body) ?? [], alias) ? null : 'no_alias';
}

const isWhole = (body: Buffer): boolean => aliasesIn(body) !== null;

/** The aliases of all entries. Null if the entries do not end where the file does. */
function aliasesIn(body: Buffer): string[] | null {
  let place = 8;
  const skip = (bytes: number) => (place += bytes);
  const number = () => body.readUInt32BE(skip(4) - 4);
  const shortText = () => {
    const length = body.readUInt16BE(skip(2) - 2);
    return body.subarray(skip(length) - length, place).toString('utf8');
  };
  const certificate = (version: number) => {
    if (version === 2) shortText();
    skip(number());
  };
  try {
    const version = body.readUInt32BE(4);
    const aliases: string[] = [];
    for (let entries = number(); entries > 0; entries--) {
      const kind = number();
      aliases.push(shortText());
      skip(8);
      if (kind === 1) {
        skip(number());
        for (let chain = number(); chain > 0; chain--) certificate(version);
      } else certificate(version);
    }
    return place === body.length ? aliases : null;
  } catch {
    return null;
  }
}
