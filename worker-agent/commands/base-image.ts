/**
 * `expo-worker base-image`: runs vm-image/create-base-image.sh with what the config says, so that nobody has
 * to know where npm has put the script. Further options go to the script.
 */
import { constants } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { execa } from 'execa';
import { defaultConfigPath, expandHome, loadConfig, vmControllerUrl } from '../config.ts';
import { VM_IMAGE } from '../vm-image.ts';

const CREATE_BASE_IMAGE = join(VM_IMAGE, 'create-base-image.sh');

export function baseImageCommand(exitWith: (exitCode: number) => void): Command {
  return new Command('base-image')
    .description('make the VM that all builds are cloned from. Run again, it goes on where it stopped')
    .usage('[--config <path>] [options of create-base-image.sh]')
    .option('--config <path>', 'config file', defaultConfigPath())
    .argument('[options...]', 'such as --from IMAGE, --cpus N, --disk-gb N, --skip STEP, --force')
    .allowUnknownOption()
    .addHelpText('after', `\nAll its options stand at the head of ${CREATE_BASE_IMAGE}`)
    .action(async (more: string[], { config: path }: { config: string }) => {
      const config = await loadConfig(expandHome(path));
      const { vmUser, vmSshKey, vmSshPort, tartPath, tartHome } = config;
      const named = { user: vmUser, key: vmSshKey, 'ssh-port': vmSshPort, controller: vmControllerUrl(config) };
      const known = Object.entries(named).flatMap(([option, value]) => [`--${option}`, String(value)]);
      const script = execa('sh', [CREATE_BASE_IMAGE, config.images[0].vmName, ...known, ...more], {
        reject: false,
        stdio: 'inherit',
        env: { TARTBEAT_TART: tartPath, ...(tartHome && { TART_HOME: tartHome }) },
      });
      // The script shuts its VM down before it ends. Ctrl-C reaches it without us.
      process.on('SIGINT', () => {});
      for (const name of ['SIGTERM', 'SIGHUP'] as const) process.on(name, () => script.kill(name));
      const { exitCode, signal } = await script;
      exitWith(exitCode ?? 128 + (signal ? constants.signals[signal] : 0));
    });
}
