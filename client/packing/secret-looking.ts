/** Tells by its name whether a file looks like a secret, or like one that a build needs beside git. */

/** Files that sign an app or give access to its account. No repository should have them. */
const SIGNS = /(^|\/)(credentials\.json|[^/]+\.(p12|p8|jks|mobileprovision))$/i;
/** Files that people often keep out of git, although the app contains their values. */
const CONFIGURES = /(^|\/)(\.env(\.[^/]*)?|google-services\.json|GoogleService-Info\.plist)$/i;

export const looksLikeSigning = (path: string): boolean => SIGNS.test(path);

/** Files that show the names of variables, without the values. */
const EXAMPLE = /\.(example|sample|template)$/i;

/** As {@link looksLikeSigning}, with the .env files that git does not have. */
export const looksSecret = (path: string): boolean =>
  SIGNS.test(path) || (/(^|\/)\.env(\.[^/]*)?$/i.test(path) && !EXAMPLE.test(path));

export const looksNeeded = (path: string): boolean => SIGNS.test(path) || CONFIGURES.test(path);
