/** Proposes the files that a first build may lack. Pure. */
import type { nativeBuilds } from './native-builds.ts';

/** The file that is proposed, or null if the project has no native folder. */
export function proposedExpoBuildJson({ ios, android }: ReturnType<typeof nativeBuilds>): string | null {
  if (ios === null && android === null) return null;
  const value = { ...(ios && { ios }), ...(android && { android }) };
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Profiles that need no account: one for the simulator and a test device, one for the stores. */
export const MINIMAL_EAS_JSON = `${JSON.stringify(
  {
    cli: { appVersionSource: 'remote' },
    build: {
      preview: { distribution: 'internal', withoutCredentials: true, ios: { simulator: true } },
      production: { autoIncrement: true, credentialsSource: 'local' },
    },
  },
  null,
  2,
)}\n`;
