/**
 * Tells which variables look secret, for requests that do not say which are. Pure.
 *
 * A value counts as secret if its name or its length looks secret, because a shown secret is worse than a
 * hidden word.
 */

/** Each ends a word of the name: `API_KEY` looks secret, `KEYBOARD` does not. */
const SECRET_NAME =
  /(?:^|_)(?:\w*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY)S?|KEYSTORE|PRIVATE|PASS|PWD|PW|PIN|AUTH|BEARER|COOKIE|SIGNATURE|SALT|CERT|CERTIFICATE|P8|P12|DSN|JWT|LOGIN)(?:_|$)/i;
/**
 * The shortest common secret: an app-specific password of Apple has 19 characters, other keys 16 and more.
 */
const SECRET_LENGTH = 16;
/** Public by Expo's own convention, because these are compiled into the app. */
const PUBLIC_NAME = /^EXPO_PUBLIC_/;

export const looksSecret = (name: string, value: string): boolean =>
  !PUBLIC_NAME.test(name) && (SECRET_NAME.test(name) || value.length >= SECRET_LENGTH);
