/**
 * `expo-worker base-image`: makes the VM that builds are cloned from, or publishes it. Shows first how much
 * of the disk it takes. Gives options that it does not know to vm-image/create-base-image.sh.
 */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { defaultConfigPath, expandHome, loadConfig } from '../config.ts';
import { CommandError, EXIT } from '../exit-codes.ts';
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

const SCRIPT = join(VM_IMAGE, 'create-base-image.sh');

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
    .addHelpText('after', `\nFurther options stand at the head of ${SCRIPT}`)
    .action(async (more: string[], flags: BaseImageFlags) => {
      const interrupt = interruptible();
      try {
        const exitCode = await run(flags, more, interrupt);
        exitWith(exitCode === EXIT.ok ? exitCode : (interrupt.exitCode() ?? exitCode));
      } catch (error) {
        const exitCode = (error as Error).name === 'ExitPromptError' ? EXIT.interrupted : interrupt.exitCode();
        if (exitCode === null) throw error;
        exitWith(exitCode);
      }
    });
}

/** Ends the work at SIGINT, SIGTERM and SIGHUP. */
function interruptible() {
  const stop = new AbortController();
  let exitCode: number | null = null;
  let scriptHasTerminal = false;
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => {
      // Ctrl-C reaches the script without us, and the script shuts its VM down before it ends.
      if (exitCode !== null || (name === 'SIGINT' && scriptHasTerminal)) return;
      exitCode = 128 + constants.signals[name];
      process.stdout.write('Stopping …\n');
      stop.abort();
    });
  return {
    signal: stop.signal,
    /** Null if no signal has come. */
    exitCode: () => exitCode,
    async withTerminal<T>(script: () => Promise<T>): Promise<T> {
      scriptHasTerminal = true;
      try {
        return await script();
      } finally {
        scriptHasTerminal = false;
      }
    },
  };
}

/** The options of the script are the labels of its `case`. Throws CommandError. */
function refuseUnknown(more: readonly string[]): void {
  const asked = more.filter((word) => word.startsWith('-'));
  if (asked.length === 0) return;
  const labels = readFileSync(SCRIPT, 'utf8').matchAll(/^ +(--[a-z-]+)\)/gm);
  const known = new Set(Array.from(labels, ([, option]) => option));
  const unknown = asked.find((option) => !known.has(option));
  if (unknown !== undefined)
    throw new CommandError(
      `there is no option ${unknown}; \`expo-worker base-image --help\` and the head of ${SCRIPT} list all options`,
      EXIT.usage,
    );
}

async function run(
  flags: BaseImageFlags,
  more: readonly string[],
  { signal, withTerminal }: ReturnType<typeof interruptible>,
): Promise<number> {
  refuseUnknown(more);
  if (flags.publish !== undefined && flags.from !== undefined)
    throw new CommandError(
      '--from: it says what an image is made from, and --publish takes an image that this Mac has; leave it out, ' +
        'or name the image with --image',
      EXIT.usage,
    );
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
  const name = flags.image;
  const shared = { config, configPath, images, tart, name, roomOf: diskRoomOf, more, say, signal, withTerminal };
  if (flags.publish !== undefined) return await publishImage({ ...shared, to: flags.publish });
  const prompts = () => import('@inquirer/prompts'); // most runs ask nothing, and it takes long to load
  const ask = process.stdin.isTTY
    ? async (message: string) => (await prompts()).confirm({ message }, { signal })
    : null;
  return await makeBaseImage({ ...shared, from: flags.from, yes: flags.yes, ask });
}
