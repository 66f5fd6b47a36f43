/**
 * `expo-worker base-image`: makes the VM that builds are cloned from, or publishes it. Shows what it takes of
 * the disk first. Options that it does not know go to vm-image/create-base-image.sh.
 */
import { join } from 'node:path';
import { confirm } from '@inquirer/prompts';
import { Command } from 'commander';
import { defaultConfigPath, expandHome, loadConfig } from '../config.ts';
import { EXIT } from '../exit-codes.ts';
import { makeBaseImage } from '../images/base-image.ts';
import { Images } from '../images/images.ts';
import { publishImage } from '../images/publish.ts';
import { diskRoomOf } from '../mac/disk-room.ts';
import { createTart } from '../tart/tart.ts';
import { VM_IMAGE } from '../vm-image.ts';

interface BaseImageFlags {
  config: string;
  image?: string;
  from?: string;
  publish?: string;
  yes: boolean;
}

export function baseImageCommand(exitWith: (exitCode: number) => void): Command {
  return new Command('base-image')
    .description('make the VM that builds are cloned from, or publish it. Run again, it goes on where it stopped')
    .usage('[--config <path>] [--image <name>] [options of create-base-image.sh]')
    .option('--config <path>', 'config file', defaultConfigPath())
    .option('--image <name>', 'which image of the config; the first one otherwise')
    .option('--from <image>', 'a name of public-images, a VM of this Mac, or REPOSITORY@sha256:DIGEST')
    .option('--publish <registry/name>', 'push it without the keys of this Mac, and print its reference by digest')
    .option('-y, --yes', 'accept the plan for the disk, whatever it gives up', false)
    .argument('[options...]', 'such as --cpus N, --disk-gb N, --skip STEP, --force')
    .allowUnknownOption()
    .addHelpText('after', `\nFurther options stand at the head of ${join(VM_IMAGE, 'create-base-image.sh')}`)
    .action(async (more: string[], flags: BaseImageFlags) => {
      const stop = new AbortController();
      // The script shuts its VM down before it ends. Ctrl-C reaches it without us.
      process.on('SIGINT', () => {});
      for (const name of ['SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop.abort());
      try {
        exitWith(await run(flags, more, stop.signal));
      } catch (error) {
        if ((error as Error).name !== 'ExitPromptError') throw error;
        exitWith(EXIT.interrupted);
      }
    });
}

async function run(flags: BaseImageFlags, more: readonly string[], signal: AbortSignal): Promise<number> {
  const configPath = expandHome(flags.config);
  const config = await loadConfig(configPath);
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  const tart = createTart(config);
  const images = Images.open({
    ...{ configPath, config, tart },
    emit: (event) => {
      if ('message' in event && event.message) say(event.message);
    },
  });
  const shared = { config, configPath, images, tart, name: flags.image, roomOf: diskRoomOf, more, say, signal };
  if (flags.publish !== undefined) return await publishImage({ ...shared, to: flags.publish });
  const ask = process.stdin.isTTY ? (message: string) => confirm({ message }) : null;
  return await makeBaseImage({ ...shared, from: flags.from, yes: flags.yes, ask });
}
