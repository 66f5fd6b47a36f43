/** The version of `expo-build`, as its package has it. */
import packageJson from '../package.json' with { type: 'json' };

export const VERSION: string = packageJson.version;
