/**
 * `expo-worker images`: shows the VM that builds of each image are cloned from, and lets a person go back to
 * the previous snapshot or take the candidate. A running agent takes notice at its next claim.
 */
import { Command } from 'commander';
import { printable } from '../../client/printable.ts';
import { type AgentConfig, defaultConfigPath, expandHome, loadConfig } from '../config.ts';
import { CommandError, EXIT } from '../exit-codes.ts';
import { imageNamed } from '../images/base-image-task.ts';
import { Images, type ImageView } from '../images/images.ts';
import type { Generation, ImageState } from '../images/images-file.ts';
import { PROVEN_AFTER } from '../images/roll-out.ts';
import { createTart, type Tart } from '../tart/tart.ts';

/** A Tart that hangs must not keep `status` from saying the rest. */
const LIST_MS = 5_000;

interface Options {
  config: string;
  json?: boolean;
}

export function imagesCommand(): Command {
  const withConfig = (command: Command) => command.option('--config <path>', 'config file', defaultConfigPath());
  const images = withConfig(new Command('images'))
    .description('show what builds are cloned from, go back to the previous snapshot, or take a candidate')
    .option('--json', 'print it as JSON')
    .action(async ({ config: path, json }: Options) => {
      const { config, list } = await openImages(path);
      const shown = await withMissing(list, createTart(config));
      const text = json ? JSON.stringify(shown, null, 2) : shown.flatMap(describeImage).map(printable).join('\n');
      process.stdout.write(`${text}\n`);
    });
  for (const [name, { description, decide }] of Object.entries(DECISIONS))
    images.addCommand(
      withConfig(new Command(name))
        .argument('[image]', 'its name in the config, if it has several')
        .description(description)
        .action(async (image: string | undefined, _own: unknown, command: Command) => {
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
    description: 'clone builds from the previous snapshot again; the present one becomes the candidate',
    decide: {
      next: ({ previous }) => previous,
      act: (images, name) => images.back(name),
      none: 'has no snapshot before its present one',
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

async function decided(configPath: string, named: string | undefined, { next, act, none }: Decision): Promise<string> {
  const { config, images, list } = await openImages(configPath);
  if (named === undefined && list.length > 1)
    throw new CommandError(`Name the image: ${list.map(({ name }) => name).join(' or ')}.`, EXIT.usage);
  const image = imageNamed(list, named);
  const { name } = image;
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
  const images = Images.open({
    ...{ configPath, config, tart: createTart(config) },
    emit: (event) => event.type === 'warning' && emit(event),
  });
  return { config, images, list: images.list() };
}

export interface ShownImage extends ImageView {
  /** `tart list` does not show the VM that builds are cloned from. False too where Tart gives no answer. */
  isMissing: boolean;
}

/** Asks Tart once. */
export async function withMissing(images: readonly ImageView[], tart: Pick<Tart, 'list'>): Promise<ShownImage[]> {
  const listed = await tart.list(AbortSignal.timeout(LIST_MS)).catch(() => null);
  const isMissing = (vm: string) => listed?.ok === true && !listed.vms.some(({ name }) => name === vm);
  return images.map((image) => ({ ...image, isMissing: isMissing(image.current.vm) }));
}

/** As lines for people, which `status` shows too. */
export function describeImage(image: ShownImage, _index: number, { length }: readonly ShownImage[]): string[] {
  const { name, platforms, current, previous, candidate, succeeded, strikes, switchedBack, isMissing } = image;
  const which = length > 1 ? ` --image ${name} --from SOURCE` : '';
  const missing = isMissing ? ` – not there; \`expo-worker base-image${which}\` makes it` : '';
  const begun = previous ? `, ${succeeded.length} of ${PROVEN_AFTER} builds begun` : '';
  const blamed = strikes.length === 0 ? '' : `, blamed by ${strikes.map(({ buildId }) => buildId).join(' and ')}`;
  const rows = [
    previous && `before it: ${describeGeneration(previous)}; \`expo-worker images back ${name}\` returns to it`,
    candidate && `candidate: ${describeGeneration(candidate)}; \`expo-worker images promote ${name}\` takes it`,
    switchedBack && `went back from ${switchedBack.vm} at ${switchedBack.at}: ${switchedBack.why}`,
  ];
  const first = `${name} (${platforms.join(', ')}): ${describeGeneration(current)}${missing}${begun}${blamed}`;
  return [first, ...rows.filter((row) => row !== null)].map(
    (row, index) => `${index === 0 ? 'image' : '     '}       ${row}`,
  );
}

function describeGeneration({ vm, digest, provisioned }: Generation): string {
  if (!digest && !provisioned) return vm;
  const short = (hash: string | null) => hash?.replace('sha256:', '').slice(0, 12) ?? 'unknown';
  return `${vm} (image ${short(digest)}, provisioned ${short(provisioned)})`;
}
