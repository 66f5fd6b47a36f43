/** `expo-build links`: lists and revokes links to install pages. */
import { Command } from 'commander';
import { type Link, type LinkList, PAGE_MAX } from '#contract';
import { printable } from '../../../client/printable.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { ago, columnsOf, moment, table } from '../../words.ts';
import { PROJECT_OPTION, projectOf } from '../project-option.ts';

interface LinksOptions {
  project?: string;
  json: boolean;
}

export function linksCommand(interrupts: Interrupts): Command {
  return new Command('links')
    .description('list and revoke links to install pages')
    .addHelpText('after', HELP)
    .addCommand(
      new Command('list')
        .description('list the links of a build, or the newest of a project')
        .argument('[build]', 'the id of a build')
        .option(...PROJECT_OPTION)
        .option('--json', 'print one JSON object on each line', false)
        .addHelpText('after', '\nExample:\n  expo-build links list --project shop')
        .action((buildId: string | undefined, options: LinksOptions) => listLinks(buildId, options, interrupts.signal)),
    )
    .addCommand(
      new Command('revoke')
        .description('end links at once')
        .argument('<link...>', 'ids of links, which `links list` shows')
        .option('--json', 'print one JSON object on each line', false)
        .addHelpText('after', '\nExample:\n  expo-build links revoke lnk_01j5m2c4k8q2f7x0ab9')
        .action((linkIds: string[], options: LinksOptions) => revokeLinks(linkIds, options, interrupts.signal)),
    );
}

const HELP = `
Examples:
  expo-build links list
  expo-build links list b_01j5m2c4k8q2f7x0ab9
  expo-build links revoke lnk_01j5m2c4k8q2f7x0ab9

\`expo-build open BUILD\` makes a link. The address of a link is not stored, so it is not shown again.`;

/** The most links of a project that are listed, the newest first. */
const LISTED_MAX = 1_000;

async function listLinks(
  buildId: string | undefined,
  { project: named, json }: LinksOptions,
  signal: AbortSignal,
): Promise<void> {
  const client = new ProjectClient(await connect(signal));
  const links: Link[] = [];
  if (buildId !== undefined) links.push(...(await client.linksOfBuild(buildId)));
  else {
    const project = await projectOf(client, named);
    for (let cursor: string | null = null; links.length < LISTED_MAX; ) {
      const page: LinkList = await client.linksOfProject(project, {
        limit: String(PAGE_MAX),
        ...(cursor && { cursor }),
      });
      links.push(...page.links);
      cursor = page.nextCursor;
      if (cursor === null) break;
    }
  }
  if (json) for (const link of links) printJson({ type: 'link', link });
  else process.stdout.write(textOf(links));
}

function textOf(links: readonly Link[]): string {
  if (links.length === 0) return 'There are no links.\n';
  const now = Date.now();
  const rows = links.map(({ id, buildId, artifact, app, createdBy, createdAt, expiresAt, revokedAt }) => [
    ...[id, buildId, [app?.name, app?.version].filter(Boolean).join(' ') || artifact.name],
    `${ago(createdAt, now)} by ${createdBy.name ?? createdBy.keyId}`,
    revokedAt
      ? `revoked ${ago(revokedAt, now)}`
      : Date.parse(expiresAt) <= now
        ? 'ended'
        : `until ${moment(expiresAt)}`,
  ]);
  return table([['LINK', 'BUILD', 'APP', 'MADE', 'OPEN'], ...rows], columnsOf(process.stdout));
}

async function revokeLinks(linkIds: string[], { json }: LinksOptions, signal: AbortSignal): Promise<void> {
  const client = new ProjectClient(await connect(signal));
  for (const linkId of linkIds) {
    const link = await client.revokeLink(linkId);
    if (json) printJson({ type: 'link', link });
    else process.stdout.write(`${printable(link.id)} is revoked.\n`);
  }
}
