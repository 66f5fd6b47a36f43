/**
 * Opens a PKCS#12 file: a certificate with its key as `.p12`, or a newer Java keystore. Pure.
 *
 * Invariant: openPkcs12 refuses a hostile file within about a second, and never throws.
 */
import { createHmac } from 'node:crypto';
import type forge from 'node-forge';
import { childrenOf, DerError, integerOf, isContext, isSequence, octetsOf, oidOf, parseDer, toDer } from './der.ts';
import {
  decrypt,
  HASHES,
  isCommonCipher,
  pkcs12Key,
  Rounds,
  SHA1,
  TooManyRounds,
  UnknownAlgorithm,
} from './key-derivation.ts';

/** A certificate with its key and its chain has some KB. */
export const PKCS12_MAX_BYTES = 1024 * 1024;

/** No file that signs an app has more. */
const BAGS_MAX = 200;

export interface Pkcs12 {
  /** In the order of the file, as DER. */
  certificates: Buffer[];
  /** PKCS#8, as DER. */
  keys: Buffer[];
  /** The names that programs gave to keys and certificates: the aliases of a Java keystore. */
  names: string[];
  /** True if both macOS and Expo's engine can open its ciphers and its MAC. */
  isOldKind: boolean;
}

export type Pkcs12Refusal = 'no_pkcs12' | 'wrong_password' | 'too_many_rounds' | 'unknown_algorithm';

const OID = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  encryptedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  name: '1.2.840.113549.1.9.20',
} as const;

class WrongPassword extends Error {
  override name = 'WrongPassword';
}

/** Whether the file begins as a PKCS#12 file does: a sequence with the version 3. */
export function looksLikePkcs12(content: Buffer): boolean {
  return content[0] === 0x30 && content.subarray(0, 16).includes(Buffer.from([0x02, 0x01, 0x03]));
}

/** Files that are opened with the same `rounds` share their budget. */
export function openPkcs12(
  content: Buffer,
  password: string,
  rounds = new Rounds(),
): Pkcs12 | { refused: Pkcs12Refusal } {
  if (content.length > PKCS12_MAX_BYTES) return { refused: 'no_pkcs12' };
  // Some programs treat an empty password as an empty text, and others as no password.
  const passwords = password === '' ? ['', null] : [password];
  try {
    const [version, safe, mac] = childrenOf(parseDer(content));
    if (integerOf(version) !== 3) throw new DerError('another version');
    const contents = dataOf(safe);
    for (const candidate of passwords)
      try {
        if (mac !== undefined) checkMac(rounds, childrenOf(mac), contents, candidate);
        return readSafe(rounds, contents, candidate, mac !== undefined && isSha1Mac(mac));
      } catch (error) {
        if (!(error instanceof WrongPassword)) throw error;
      }
    return { refused: 'wrong_password' };
  } catch (error) {
    if (error instanceof TooManyRounds) return { refused: 'too_many_rounds' };
    if (error instanceof UnknownAlgorithm) return { refused: 'unknown_algorithm' };
    return { refused: 'no_pkcs12' };
  }
}

function dataOf(contentInfo: forge.asn1.Asn1 | undefined): Buffer {
  const [type, content] = childrenOf(contentInfo);
  if (oidOf(type) !== OID.data) throw new DerError('no data');
  return octetsOf(childrenOf(content)[0]);
}

const macHash = (mac: forge.asn1.Asn1) => oidOf(childrenOf(childrenOf(childrenOf(mac)[0])[0])[0]);
const isSha1Mac = (mac: forge.asn1.Asn1) => macHash(mac) === SHA1;

function checkMac(
  rounds: Rounds,
  [digestInfo, salt, count]: forge.asn1.Asn1[],
  contents: Buffer,
  password: string | null,
): void {
  const [algorithm, digest] = childrenOf(digestInfo);
  const oid = oidOf(childrenOf(algorithm)[0]);
  const hash = HASHES[oid];
  if (hash === undefined) throw new UnknownAlgorithm(oid);
  const times = count === undefined ? 1 : integerOf(count);
  const key = pkcs12Key(rounds, oid, password, octetsOf(salt), 3, times, hash.digestBytes);
  const made = createHmac(hash.name, key).update(contents).digest();
  if (!made.equals(octetsOf(digest))) throw new WrongPassword();
}

function readSafe(rounds: Rounds, contents: Buffer, password: string | null, isOldMac: boolean): Pkcs12 {
  const found: Pkcs12 = { certificates: [], keys: [], names: [], isOldKind: isOldMac };
  /** A cipher cannot distinguish a wrong password from damaged data. A wrong password is more likely. */
  const decrypted = (algorithm: forge.asn1.Asn1 | undefined, encrypted: Buffer): forge.asn1.Asn1 => {
    if (algorithm === undefined) throw new DerError('the name of a cipher is missing');
    if (!isCommonCipher(algorithm)) found.isOldKind = false;
    try {
      return parseDer(decrypt(rounds, algorithm, password, encrypted));
    } catch (error) {
      if (error instanceof TooManyRounds || error instanceof UnknownAlgorithm) throw error;
      throw new WrongPassword();
    }
  };
  let bags = 0;
  for (const contentInfo of childrenOf(parseDer(contents))) {
    const [type, content] = childrenOf(contentInfo);
    if (oidOf(type) === OID.data) readBags(parseDer(octetsOf(childrenOf(content)[0])));
    else if (oidOf(type) === OID.encryptedData) {
      const [, encrypted] = childrenOf(childrenOf(content)[0]);
      const [, algorithm, octets] = childrenOf(encrypted);
      readBags(decrypted(algorithm, octetsOf(octets)));
    } else throw new UnknownAlgorithm(oidOf(type));
  }
  return found;

  function readBags(contents: forge.asn1.Asn1): void {
    for (const bag of childrenOf(contents)) {
      if (++bags > BAGS_MAX) throw new DerError('too many bags');
      const [type, tagged, attributes] = childrenOf(bag);
      const value = childrenOf(tagged)[0];
      if (value === undefined) throw new DerError('an empty bag');
      const oid = oidOf(type);
      if (oid === OID.certificateBag) {
        const [, certificate] = childrenOf(value);
        if (isContext(certificate, 0)) found.certificates.push(octetsOf(childrenOf(certificate)[0]));
      } else if (oid === OID.keyBag) found.keys.push(toDer(value));
      else if (oid === OID.encryptedKeyBag) {
        const [algorithm, encrypted] = childrenOf(value);
        found.keys.push(toDer(decrypted(algorithm, octetsOf(encrypted))));
      }
      if (attributes !== undefined) found.names.push(...namesIn(attributes));
    }
  }
}

function namesIn(attributes: forge.asn1.Asn1): string[] {
  return childrenOf(attributes).flatMap((attribute) => {
    if (!isSequence(attribute)) return [];
    const [type, values] = childrenOf(attribute);
    if (oidOf(type) !== OID.name) return [];
    return childrenOf(values).flatMap(({ value }) => (typeof value === 'string' ? [value] : []));
  });
}
