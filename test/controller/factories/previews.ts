/** Makes builds with an app that can be installed, links to them, and asks a link for all that it opens. */
import { env } from 'cloudflare:workers';
import type { ArtifactApp, LinkCreated, LinkRequest, Rights } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import * as schema from '../../../controller/schema/index.ts';
import { appWith } from './app-with.ts';
import { anApp, bytesOf, db, insertAttempt, insertBlob, insertBuild, insertProject, unique } from './rows.ts';
import { type Answer, api } from './scenarios.ts';

export interface Preview {
  project: string;
  buildId: string;
  fileName: string;
  content: string;
  icon: string;
  /** A key of the project with the right `links`. */
  key: { id: string; secret: string };
}

export const ICON = 'the bytes of a PNG';

interface Options {
  fileName?: string;
  app?: Partial<ArtifactApp>;
  build?: Partial<typeof schema.builds.$inferInsert>;
  rights?: Partial<Rights>;
  expiresAt?: number;
}

export async function aPreview({ fileName = 'Shop.ipa', app = {}, build = {}, rights = {}, expiresAt }: Options = {}) {
  const now = Date.now();
  const [project, pool, content] = [await insertProject(), unique('pool'), unique('the bytes of an app')];
  const of = { ...RIGHTS_TO_ALL, projects: [project], may: ['links' as const], ...rights };
  const made = await createKey(env, { name: 'previews', scope: 'submit', rights: of, expiresAt }, now);
  const ended = { status: 'succeeded', endedAt: now, createdAt: now } as const;
  const buildId = await insertBuild({ projectId: project, pool, ...ended, ...build });
  await insertAttempt(buildId, 1, { endedAt: now });
  const preview: Preview = {
    ...{ project, buildId, fileName, content },
    icon: await insertBlob(bytesOf(ICON), project),
    key: { id: made.key.id, secret: made.secret },
  };
  await addArtifact(preview, `out/${fileName}`, app);
  return preview;
}

export async function addArtifact(
  { buildId, project, content, icon: of }: Preview,
  name: string,
  app: Partial<ArtifactApp> | null,
): Promise<void> {
  const sha256 = await insertBlob(bytesOf(content), project);
  const file = { buildId, attempt: 1, name, sha256, size: content.length, createdAt: Date.now() };
  const { icon, ...said } = { ...anApp(of), ...app };
  await db.insert(schema.artifacts).values(app === null ? file : { ...file, app: said, icon });
}

export const askLink = (
  { buildId, key }: Pick<Preview, 'buildId' | 'key'>,
  request: LinkRequest = {},
): Promise<Answer<LinkCreated & { error?: { code: string; message: string } }>> =>
  api('POST', `/api/builds/${buildId}/links`, request, key.secret);

export async function aLink(
  preview: Pick<Preview, 'buildId' | 'key'>,
  request?: LinkRequest,
): Promise<{ id: string; token: string }> {
  const { status, body } = await askLink(preview, request);
  if (status !== 201) throw new Error(JSON.stringify(body));
  return { id: body.id, token: body.url.split('/').at(-1)! };
}

export const pathsOf = (token: string, { fileName }: Pick<Preview, 'fileName'>): string[] =>
  ['', '/manifest.plist', '/icon', `/file/${encodeURIComponent(fileName)}`].map((rest) => `/i/${token}${rest}`);

/** Asks as a stranger who has a link, of a deployment with these variables. */
export const open = (
  path: string,
  variables: Record<string, string> = {},
  init: RequestInit = {},
): Promise<Response> => {
  const unlimited: RateLimit = { limit: async () => ({ success: true }) };
  return Promise.resolve(
    appWith().request(path, init, { ...env, CALLERS: unlimited, STRANGERS: unlimited, ...variables }),
  );
};
