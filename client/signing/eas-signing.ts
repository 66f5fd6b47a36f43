/**
 * Finds signing files that `eas build --local` cannot use, although Expo's engine on its own can. The reason
 * is that eas-cli reads only credentials.json, and passes the certificate on unchanged.
 */
import { printable } from '../printable.ts';
import { type ProjectFiles, pathIn } from '../project/project-files.ts';
import { CONVERT } from './certificate.ts';
import type { Credentials } from './credentials.ts';

/** `files`: the source, overridden by the secret files. Null if there is no problem. */
export async function problemWithEas(
  files: ProjectFiles,
  appRoot: string,
  credentials: Credentials | null,
): Promise<string | null> {
  if (credentials?.platform !== 'ios') return null;
  const path = pathIn(appRoot, 'credentials.json');
  if (path === null || !files.paths.has(path))
    return `\`eas build --local\` takes the signing files of a profile with \`credentialsSource: local\` only from \`${printable(path ?? 'credentials.json')}\`, which is not there: submit it as a secret file, and let it name the certificate (.p12) and the profile (.mobileprovision).`;
  for (const { certificatePath, certificate } of credentials.targets) {
    const content = await files.read(certificatePath);
    if (content === null || !content.equals(certificate.p12))
      return `The certificate \`${printable(certificatePath)}\` is in a form that macOS or Expo's engine does not open (that of OpenSSL 3, without a password, or with another certificate before its own), and \`eas build --local\` takes the file as it is: write it again with \`${CONVERT}\`, and give a password.`;
  }
  return null;
}
