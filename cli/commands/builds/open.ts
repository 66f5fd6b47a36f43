/** `expo-build open`: makes a link to the install page of a build, and shows it. */
import { Command, InvalidArgumentError } from 'commander';
import { renderUnicodeCompact } from 'uqr';
import type { LinkCreated } from '#contract';
import { printable } from '../../../client/printable.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import { openInBrowser } from '../../browser.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { moment } from '../../words.ts';

interface OpenOptions {
  artifact?: string;
  expiresIn?: number;
  browser: boolean;
  json: boolean;
}

export function openCommand(interrupts: Interrupts): Command {
  return new Command('open')
    .description('make a link with which a device installs the app of a build, and open it')
    .argument('<build>', 'the id of a build that has succeeded')
    .option('--artifact <name>', 'which artifact, if the build has several apps')
    .option('--expires-in <time>', 'such as 2h or 7d; else as long as the artifact is kept', lifeOf)
    .option('--no-browser', 'show the address, and open no browser')
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (buildId: string, { artifact, expiresIn, browser, json }: OpenOptions) => {
      const client = new ProjectClient(await connect(interrupts.signal));
      const link = await client.createLink(buildId, {
        ...(artifact !== undefined && { artifact }),
        ...(expiresIn !== undefined && { expiresInMs: expiresIn }),
      });
      if (json) return printJson({ type: 'link_created', link });
      process.stdout.write(textOf(link));
      if (!process.stdout.isTTY || !browser) return;
      if (!(await openInBrowser(link.url))) process.stderr.write('No browser could be opened.\n');
    });
}

const HELP = `
Examples:
  expo-build open b_01j5m2c4k8q2f7x0ab9
  expo-build open b_01j5m2c4k8q2f7x0ab9 --expires-in 2h --no-browser

The page needs no key: whoever has the address can install the app. Each call makes a new link. Scan the code
with the device. Without a terminal the address alone is printed.`;

const UNITS_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 };

function lifeOf(text: string): number {
  const [, count, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  if (!count || !unit) throw new InvalidArgumentError('Give a time such as 30m, 2h or 7d.');
  return Number(count) * UNITS_MS[unit as keyof typeof UNITS_MS];
}

function textOf({ id, url, expiresAt, artifact }: LinkCreated): string {
  const address = `${printable(url)}\n`;
  if (!process.stdout.isTTY) return address;
  const name = printable(artifact.name);
  return `${address}
${renderUnicodeCompact(url, { border: 2 })}

Whoever has this address can install ${name} until ${moment(expiresAt)}.
\`expo-build links revoke ${printable(id)}\` ends it.
`;
}
