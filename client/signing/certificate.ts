/**
 * Opens a certificate with its key (.p12), and if needed rewrites it so that macOS and Expo's engine can open
 * it.
 *
 * macOS imports only the old kind of PKCS#12: PBE with SHA-1, and a MAC with SHA-1. OpenSSL 3 writes another
 * kind by default, with which the build fails with "MAC verification failed". The engine opens no file with
 * an empty password, and signs with the first certificate of a file. A file with one of these faults is
 * written again, in the form in which Expo itself writes certificates.
 *
 * Invariant: a file that was written again has the same key and signing certificate, and this was checked. It
 * gets the same password each time.
 */
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import forge from 'node-forge';
import { printable } from '../printable.ts';
import { type Found, found, problem } from '../project/found.ts';
import { Rounds } from './key-derivation.ts';
import { openPkcs12, PKCS12_MAX_BYTES, type Pkcs12, type Pkcs12Refusal } from './pkcs12.ts';

export interface Certificate {
  /** Such as `Apple Distribution: Example (ABCDE12345)`. */
  name: string;
  team: string | null;
  /** The SHA-1 of the whole certificate, 40 digits in capitals, to compare it with those of a profile. */
  sha1: string;
  expires: Date;
  hasPrivateKey: boolean;
  /** The content for the build: the file unchanged, or written again. */
  p12: Buffer;
  password: string;
}

/**
 * One file. `passwordFix` is the part of a sentence that says how to give the right password: `correct …`.
 */
export interface CertificateFile {
  path: string;
  content: Buffer;
  password: string;
  passwordFix: string;
}

/**
 * The commands that turn a .p12 into one that macOS imports. They ask for the passwords, and work with both
 * OpenSSL 3 and the LibreSSL of macOS.
 */
export const CONVERT =
  'openssl pkcs12 -in OLD.p12 -nodes -out all.pem && openssl pkcs12 -export -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -in all.pem -out NEW.p12 && rm all.pem';

const REFUSALS: Record<Pkcs12Refusal, (file: CertificateFile) => string> = {
  no_pkcs12: ({ path }) =>
    `\`${path}\` is not a certificate in the form .p12, or it is damaged: export certificate and key anew from Keychain Access.`,
  wrong_password: ({ path, passwordFix }) => `\`${path}\` does not open with its password: ${passwordFix}.`,
  too_many_rounds: ({ path }) =>
    `\`${path}\` wants so many rounds for its password that opening it would take too long: write it again with \`${CONVERT}\`.`,
  unknown_algorithm: ({ path }) =>
    `\`${path}\` is encrypted in a way that macOS does not import: write it again with \`${CONVERT}\`.`,
};

/**
 * Returns a function that opens the files of one build. It opens each file once, and all files together have
 * the time limit of one file. If a file has several identities, it takes the one that the profile contains,
 * else the first.
 */
export function certificateOpener(): (file: CertificateFile, inProfile: ReadonlySet<string>) => Found<Certificate> {
  const rounds = new Rounds();
  const known = new Map<string, Opened>();
  return (file, inProfile) => {
    const key = JSON.stringify([file.path, file.password]);
    const opened = known.get(key) ?? open(file, rounds);
    known.set(key, opened);
    return certificateIn(file, opened, inProfile);
  };
}

interface Opened {
  pkcs12: ReturnType<typeof openPkcs12>;
  certificates: ReadCertificate[];
  identities: Identity[];
  /** By the certificate's SHA-1. */
  writtenAgain: Map<string, { p12: Buffer | null; password: string }>;
}

function open({ content, password }: CertificateFile, rounds: Rounds): Opened {
  const pkcs12 = openPkcs12(content, password, rounds);
  const certificates = 'refused' in pkcs12 ? [] : pkcs12.certificates.flatMap(readCertificate);
  const keys = 'refused' in pkcs12 ? [] : pkcs12.keys.flatMap(readKey);
  return { pkcs12, certificates, identities: identitiesOf(certificates, keys), writtenAgain: new Map() };
}

function certificateIn(
  file: CertificateFile,
  { pkcs12, certificates, identities, writtenAgain }: Opened,
  inProfile: ReadonlySet<string>,
): Found<Certificate> {
  const name = printable(file.path);
  if (file.content.length > PKCS12_MAX_BYTES)
    return problem(`\`${name}\` has ${file.content.length} bytes, which no certificate has: submit the .p12 itself.`);
  if ('refused' in pkcs12) return problem(REFUSALS[pkcs12.refused]({ ...file, path: name }));
  const identity = identities.find(({ sha1 }) => inProfile.has(sha1)) ?? identities[0];
  const certificate = identity ?? certificates.find(({ sha1 }) => inProfile.has(sha1)) ?? certificates[0];
  if (certificate === undefined)
    return problem(`\`${name}\` contains no certificate: export certificate and key together from Keychain Access.`);
  const { subject, sha1 } = certificate;
  const value = {
    name: printable(subject.CN ?? sha1),
    team: subject.OU ?? null,
    sha1,
    expires: certificate.x509.validToDate,
    hasPrivateKey: identity !== undefined,
    p12: file.content,
    password: file.password,
  };
  if (identity === undefined) return found(value);
  const reason = reasonToConvert(
    pkcs12,
    file.password,
    certificates.findIndex((other) => other.sha1 === sha1),
  );
  if (reason === null) return found(value);
  const made = writtenAgain.get(sha1) ?? again(identity, certificates, file);
  writtenAgain.set(sha1, made);
  const { p12, password } = made;
  if (p12 === null)
    return problem(
      `\`${name}\` ${reason}, and Tartbeat cannot convert this kind of key: write it again with \`${CONVERT}\`.`,
    );
  return found({ ...value, p12, password }, [
    `The certificate \`${name}\` ${reason}. This build gets it written again with the same key, in the form that both open.`,
  ]);
}

/**
 * The password for a file whose own one is empty. It is computed from the file, so that another run of the
 * agent knows which text to mask in the log.
 */
export const passwordInsteadOfNone = (p12: Uint8Array): string =>
  createHmac('sha256', 'tartbeat: password of a certificate').update(p12).digest('hex').slice(0, 48);

function reasonToConvert({ isOldKind }: Pkcs12, password: string, place: number): string | null {
  if (!isOldKind)
    return "is encrypted in a way that macOS or Expo's engine does not open, as OpenSSL 3 does by default";
  if (password === '') return "has an empty password, with which Expo's engine does not open it";
  if (place > 0) return "has another certificate before its own, which Expo's engine would take for it";
  return null;
}

interface ReadCertificate {
  der: Buffer;
  x509: X509Certificate;
  subject: Partial<Record<string, string>>;
  sha1: string;
}

interface Identity extends ReadCertificate {
  key: KeyObject;
}

export const sha1Of = (der: Uint8Array): string => createHash('sha1').update(der).digest('hex').toUpperCase();

/** Empty for bytes that are no certificate. */
function readCertificate(der: Buffer): ReadCertificate[] {
  try {
    const x509 = new X509Certificate(der);
    if (Number.isNaN(x509.validToDate.getTime())) return [];
    const lines = x509.subject.split('\n').map((line) => line.split('='));
    const subject = Object.fromEntries(lines.map(([name, ...value]) => [name, value.join('=')]));
    return [{ der, x509, subject, sha1: sha1Of(der) }];
  } catch {
    return [];
  }
}

function readKey(der: Buffer): KeyObject[] {
  try {
    return [createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })];
  } catch {
    return [];
  }
}

/** The certificates with their keys, which are found by the public key. */
function identitiesOf(certificates: readonly ReadCertificate[], keys: readonly KeyObject[]): Identity[] {
  const byPublicKey = new Map(keys.map((key) => [publicText(createPublicKey(key)), key]));
  return certificates.flatMap((certificate) => {
    try {
      const key = byPublicKey.get(publicText(certificate.x509.publicKey));
      return key === undefined ? [] : [{ ...certificate, key }];
    } catch {
      return [];
    }
  });
}

const publicText = (key: KeyObject): string => key.export({ type: 'spki', format: 'der' }).toString('base64');

function again(identity: Identity, all: readonly ReadCertificate[], file: CertificateFile) {
  const password = file.password === '' ? passwordInsteadOfNone(file.content) : file.password;
  return { p12: writeAgain(identity, all, password), password };
}

/** Null if the file cannot be written again, as for a key that is not RSA. */
function writeAgain(identity: Identity, all: readonly ReadCertificate[], password: string): Buffer | null {
  try {
    const ordered = [identity, ...all.filter(({ sha1 }) => sha1 !== identity.sha1)];
    const chain = ordered.map(({ x509 }) => forge.pki.certificateFromPem(x509.toString()));
    const key = forge.pki.privateKeyFromPem(identity.key.export({ format: 'pem', type: 'pkcs1' }).toString());
    const written = forge.pkcs12.toPkcs12Asn1(key, chain, password, { friendlyName: 'key', algorithm: '3des' });
    const p12 = Buffer.from(forge.asn1.toDer(written).getBytes(), 'latin1');
    const again = openPkcs12(p12, password);
    if ('refused' in again || !again.isOldKind) return null;
    const [first] = again.certificates;
    const [sameKey] = again.keys.flatMap(readKey);
    const isSame = first !== undefined && sha1Of(first) === identity.sha1 && sameKey?.equals(identity.key) === true;
    return isSame ? p12 : null;
  } catch {
    return null;
  }
}
