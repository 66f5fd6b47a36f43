/**
 * Tells the engine, in its own process alone, that it runs on a Mac. NODE_OPTIONS loads it into every process
 * of Node. The engine's packages are loaded first, because some have a part for each system.
 */
const { realpathSync } = require('node:fs');

const script = process.argv[1] && realpathSync(process.argv[1]);
if (script?.endsWith('/eas-cli-local-build-plugin/bin/run')) {
  require(require.resolve('@expo/build-tools', { paths: [script] }));
  Object.defineProperty(process, 'platform', { value: 'darwin' });
  // As when the engine still follows Xcode's log, which it found after the build had ended.
  if (process.env.ENGINE_STAYS) setInterval(() => {}, 2 ** 30);
}
