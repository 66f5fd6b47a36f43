/** Tells by its name whether a file looks like a secret, or like one that a build needs beside git. */

/** Signs an app, or speaks for its account: this belongs into no repository. */
const SIGNS = /(^|\/)(credentials\.json|[^/]+\.(p12|p8|jks|mobileprovision))$/i;
/** Often kept out of git, although the app contains what they say. */
const CONFIGURES = /(^|\/)(\.env(\.[^/]*)?|google-services\.json|GoogleService-Info\.plist)$/i;

export const looksLikeSigning = (path: string): boolean => SIGNS.test(path);

/** Shows others which variables there are, without the values. */
const EXAMPLE = /\.(example|sample|template)$/i;

/** As {@link looksLikeSigning}, with the .env files that git does not have. */
export const looksSecret = (path: string): boolean =>
  SIGNS.test(path) || (/(^|\/)\.env(\.[^/]*)?$/i.test(path) && !EXAMPLE.test(path));

export const looksNeeded = (path: string): boolean => SIGNS.test(path) || CONFIGURES.test(path);
