/**
 * `expo-worker images`: shows what each image of this Mac is cloned from, and lets a person go back to the
 * make before it or take its candidate. An agent that runs takes notice at its next claim.
 */
import { Command } from 'commander';
import { printable } from '../../client/printable.ts';
import { type AgentConfig, defaultConfigPath, expandHome, loadConfig } from '../config.ts';
import { CommandError } from '../exit-codes.ts';
import { Images, type ImageView } from '../images/images.ts';
import type { Generation, ImageState } from '../images/images-file.ts';
import { PROVEN_AFTER } from '../images/roll-out.ts';
import { createTart } from '../tart/tart.ts';

interface Options {
  config: string;
  json?: boolean;
}

export function imagesCommand(): Command {
  const withConfig = (command: Command) => command.option('--config <path>', 'config file', defaultConfigPath());
  const images = withConfig(new Command('images'))
    .description('show what builds are cloned from, go back to the make before, or take a candidate')
    .option('--json', 'print it as JSON')
    .action(async ({ config: path, json }: Options) => {
      const { list } = await openImages(path);
      const text = json ? JSON.stringify(list, null, 2) : list.flatMap(describeImage).map(printable).join('\n');
      process.stdout.write(`${text}\n`);
    });
  for (const [name, { description, decide }] of Object.entries(DECISIONS))
    images.addCommand(
      withConfig(new Command(name))
        .argument('<image>', 'its name in the config')
        .description(description)
        .action(async (image: string, _own: unknown, command: Command) => {
          const { config } = command.optsWithGlobals<Options>();
          process.stdout.write(`${printable(await decided(config, image, decide))}\n`);
        }),
    );
  return images;
}

interface Decision {
  /** The VM that would be the current one. */
  next: (image: ImageView) => Generation | null;
  act: (images: Images, name: string) => ImageState | null;
  none: string;
}

const DECISIONS: Record<string, { description: string; decide: Decision }> = {
  back: {
    description: 'clone builds from the make before again; the present one becomes the candidate',
    decide: {
      next: ({ previous }) => previous,
      act: (images, name) => images.back(name),
      none: 'has no make before its present one',
    },
  },
  promote: {
    description: 'clone builds from the candidate, whatever its checks or its builds have said',
    decide: {
      next: ({ candidate }) => candidate,
      act: (images, name) => images.promote(name),
      none: 'has no candidate',
    },
  },
};

async function decided(configPath: string, name: string, { next, act, none }: Decision): Promise<string> {
  const { config, images, list } = await openImages(configPath);
  const image = list.find((one) => one.name === name) ?? noImage(config, name);
  const generation = next(image);
  if (!generation) throw new CommandError(`The image ${name} ${none}. \`expo-worker images\` shows what it has.`);
  const listed = await createTart(config).list();
  if (!listed.ok) throw new CommandError(listed.message);
  if (!listed.vms.some((vm) => vm.name === generation.vm))
    throw new CommandError(`There is no VM ${generation.vm} any more. Make one with \`expo-worker base-image\`.`);
  const after = act(images, name);
  if (after?.current.vm !== generation.vm)
    throw new CommandError(`The image ${name} has changed meanwhile. Look at \`expo-worker images\` and try again.`);
  return `The next builds of ${name} are cloned from ${after.current.vm}.`;
}

async function openImages(path: string): Promise<{ config: AgentConfig; images: Images; list: ImageView[] }> {
  const configPath = expandHome(path);
  const config = await loadConfig(configPath);
  const emit = (event: { message?: string }) => process.stderr.write(`${printable(event.message ?? '')}\n`);
  try {
    const images = Images.open({
      ...{ configPath, config, tart: createTart(config) },
      emit: (event) => event.type === 'warning' && emit(event),
    });
    return { config, images, list: images.list() };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    throw new CommandError('This account may not read the state of the agent. Run `sudo expo-worker images`');
  }
}

/** Throws. */
export function noImage({ images }: Pick<AgentConfig, 'images'>, name: string): never {
  const names = images.map((image) => image.name).join(', ');
  throw new CommandError(`The config has no image ${name}. It has: ${names}.`);
}

/** As lines for people, which `status` shows too. */
export function describeImage(image: ImageView): string[] {
  const { name, platforms, current, previous, candidate, succeeded, strikes, switchedBack } = image;
  const begun = previous ? `, ${succeeded.length} of ${PROVEN_AFTER} builds begun` : '';
  const blamed = strikes.length === 0 ? '' : `, blamed by ${strikes.map(({ buildId }) => buildId).join(' and ')}`;
  const rows = [
    previous && `before it: ${describeGeneration(previous)}; \`expo-worker images back ${name}\` returns to it`,
    candidate && `candidate: ${describeGeneration(candidate)}; \`expo-worker images promote ${name}\` takes it`,
    switchedBack && `went back from ${switchedBack.vm} at ${switchedBack.at}: ${switchedBack.why}`,
  ];
  const first = `${name} (${platforms.join(', ')}): ${describeGeneration(current)}${begun}${blamed}`;
  return [first, ...rows.filter((row) => row !== null)].map(
    (row, index) => `${index === 0 ? 'image' : '     '}       ${row}`,
  );
}

function describeGeneration({ vm, digest, provisioned }: Generation): string {
  if (!digest && !provisioned) return vm;
  const short = (hash: string | null) => hash?.replace('sha256:', '').slice(0, 12) ?? 'unknown';
  return `${vm} (image ${short(digest)}, provisioned ${short(provisioned)})`;
}
