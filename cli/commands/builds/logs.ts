/** `expo-build logs`: prints the log of a build, and with `--follow` goes on until the build ends. */
import { Command, InvalidArgumentError } from 'commander';
import { BuildsClient } from '../../../client/builds-client.ts';
import { printable } from '../../../client/printable.ts';
import { AWAY_AFTER_MS, Contact, FOLLOW_GIVE_UP_AFTER_MS } from '../../follow/contact.ts';
import type { View } from '../../follow/views/events.ts';
import { outputGone, whenWritable } from '../../follow/views/output.ts';
import { viewFor } from '../../follow/views/view-for.ts';
import type { Interrupts } from '../../interrupts.ts';
import { connect } from '../../settings.ts';

interface LogsOptions {
  follow: boolean;
  raw: boolean;
  attempt?: number;
  json: boolean;
}

export function logsCommand(interrupts: Interrupts): Command {
  return new Command('logs')
    .description('print the log of a build')
    .argument('<build>', 'the id of a build')
    .option('-f, --follow', 'go on until the build has ended', false)
    .option('--raw', 'print each byte as it is, also what a terminal would obey', false)
    .option('--attempt <number>', 'the log of this attempt; else of the newest', attemptNumber)
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (buildId: string, options: LogsOptions, command: Command) => {
      if (options.raw && options.json) command.error('error: give either --raw or --json');
      const client = new BuildsClient(await connect());
      const signal = AbortSignal.any([interrupts.signal, outputGone()]);
      const parts = options.follow
        ? followed(client, buildId, options, signal)
        : stored(client, buildId, options, signal);
      if (options.raw) return await printRaw(parts, signal);
      using view = viewFor([buildId], { json: options.json, now: () => client.connection.now(), withStatus: false });
      await print(parts, buildId, view, signal);
    });
}

const HELP = `
Examples:
  expo-build logs b_0123456789abcdef
  expo-build logs -f b_0123456789abcdef | grep -i warning

Of what the build printed, a terminal gets text and colours. A pipe or a file gets plain text. The exit code
says whether the log could be read; that of \`expo-build watch\` says how the build ended. A reader that leaves
before the end, such as \`head\`, stops the command: 130.`;

function attemptNumber(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 1 to 9999.');
  return Number(text);
}

interface Part {
  attempt: number;
  bytes: Uint8Array;
}

async function* stored(
  client: BuildsClient,
  buildId: string,
  options: LogsOptions,
  signal: AbortSignal,
): AsyncGenerator<Part> {
  const attempt = options.attempt ?? (await client.build(buildId, signal)).attempt;
  if (attempt === 0) return void process.stderr.write('The build is in the queue and has printed nothing yet.\n');
  for await (const bytes of client.log(buildId, attempt, signal)) yield { attempt, bytes };
}

async function* followed(
  client: BuildsClient,
  buildId: string,
  { attempt }: LogsOptions,
  signal: AbortSignal,
): AsyncGenerator<Part> {
  const contact = new Contact({
    awayAfterMs: AWAY_AFTER_MS,
    say: (_, message) => void process.stderr.write(`expo-build: ${printable(message)}\n`),
  });
  const parts = client.followLogParts(buildId, {
    ...{ attempt, signal, giveUpAfterMs: FOLLOW_GIVE_UP_AFTER_MS },
    onHeard: () => contact.heard(),
    onLost: (why, sinceMs) => contact.lost(why, sinceMs),
  });
  for await (const { attempt: of, text } of parts) yield { attempt: of, bytes: Buffer.from(text) };
}

async function print(parts: AsyncIterable<Part>, buildId: string, view: View, signal: AbortSignal): Promise<void> {
  let decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let before = 0;
  for await (const { attempt, bytes } of parts) {
    if (attempt !== before) decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    before = attempt;
    view.show({ type: 'log', buildId, attempt, text: decoder.decode(bytes, { stream: true }) });
    await view.ready(signal);
  }
  signal.throwIfAborted();
}

async function printRaw(parts: AsyncIterable<Part>, signal: AbortSignal): Promise<void> {
  for await (const { bytes } of parts) {
    process.stdout.write(bytes);
    await whenWritable(process.stdout, signal);
  }
  signal.throwIfAborted();
}
