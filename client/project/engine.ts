/**
 * Chooses the engine that builds a profile: Expo's local build engine on its own, or `eas build --local`,
 * which asks Expo's server first and needs a token.
 */
import type { BuildProfile } from './build-profile.ts';
import { named } from './formats/text.ts';

export interface EngineChoice {
  engine: 'plugin' | 'eas';
  /** A sentence for the log. */
  because: string;
}

/** Whether the app is signed, so that the build needs a certificate or a keystore. */
export const isSigned = ({ platform, simulator, withoutCredentials }: BuildProfile): boolean =>
  !withoutCredentials && !(platform === 'ios' && simulator);

/** `hasLocalCredentials`: the source or the secret files of the build have a certificate or a keystore. */
export function chooseEngine(
  profile: BuildProfile,
  { hasLocalCredentials = false }: { hasLocalCredentials?: boolean } = {},
): EngineChoice {
  const name = named(profile.name);
  if (profile.environment !== undefined)
    return eas(`profile ${name} names the environment ${named(profile.environment)}, which only Expo's server has`);
  if (!isSigned(profile))
    return plugin(
      `profile ${name} ${profile.withoutCredentials ? 'is not signed' : 'is for the simulator'}, so nothing is needed from Expo's server`,
    );
  if (profile.credentialsSource === 'local') return plugin(`profile ${name} has \`credentialsSource: local\``);
  if (hasLocalCredentials)
    return plugin(`the build brings its own signing files, so that the remote ones of profile ${name} are not needed`);
  return eas(`profile ${name} takes its signing files from Expo's server (\`credentialsSource: remote\`)`);
}

const plugin = (reason: string): EngineChoice => ({
  engine: 'plugin',
  because: `Expo's local engine builds, without an Expo account: ${reason}.`,
});

const eas = (reason: string): EngineChoice => ({
  engine: 'eas',
  because: `\`eas build --local\` builds, with EXPO_TOKEN: ${reason}.`,
});
