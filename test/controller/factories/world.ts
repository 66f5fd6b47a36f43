/**
 * Makes a small world with a credential of each kind. It has a running build with an earlier attempt, a build
 * of another worker, and a build that has ended.
 */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { GRANTS } from '#contract';
import { rotateKey } from '../../../controller/access/key-rotation.ts';
import { type KeyRow, type KeySpec, newKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { signToken, type TokenKind } from '../../../controller/access/tokens.ts';
import { randomText, sha256Hex } from '../../../controller/bytes.ts';
import * as schema from '../../../controller/schema/index.ts';
import { createEnrolment } from '../../../controller/workers/enrolments.ts';
import {
  anApp,
  type Batch,
  bytesOf,
  db,
  HOUR_MS,
  insertAttempt,
  insertBlob,
  insertBuild,
  insertHold,
  insertProject,
  send,
  tokenFor,
  unique,
  workerInsertions,
} from './rows.ts';
import { appOf, optionsOf, storeKeyRow } from './submissions.ts';

/**
 * A credential asks about the running build; those that end in `Ended` ask about the build that has ended.
 */
export const COLUMNS = {
  none: 'no credential',
  garbage: 'a key that never was',
  revoked: 'a revoked key',
  expired: 'an expired key',
  replaced: 'a rotated key whose overlap has passed',
  forged: 'a run token with another signature',
  vmExpired: 'a vm token past its time',
  runExpired: 'a run token past its time',
  admin: 'an admin key',
  submit: 'a submit key',
  submitTied: 'a submit key tied to the pool of the build',
  submitElsewhere: 'a submit key tied to another pool',
  projectAdmin: 'the key of an admin of the project, with all grants',
  projectAdminElsewhere: 'the key of an admin of another project, with all grants',
  untrusted: 'an untrusted submit key of the project',
  read: 'a read key of the project',
  worker: "the worker's own key",
  workerForeign: "another worker's key",
  vm: "the attempt's vm token",
  vmForeign: "another build's vm token",
  vmStale: "an earlier attempt's vm token",
  vmEnded: 'the vm token of an ended attempt',
  run: "the attempt's run token",
  runForeign: "another build's run token",
  runStale: "an earlier attempt's run token",
  runEnded: 'the run token of an ended attempt',
} as const;
export type Column = keyof typeof COLUMNS;

export interface Credential {
  column: Column;
  secret: string | null;
  /** The build that the path names, and the attempt that the request is about. */
  target: string;
  attempt: number;
}
export interface World {
  pool: string;
  worker: string;
  blob: string;
  running: string;
  ended: string;
  /** An untrusted build of the project that has ended. */
  untrusted: string;
  /** Its project, another project, and a deleted one, with a build that has ended in each of both. */
  project: string;
  foreign: { project: string; build: string; key: string };
  deleted: { project: string; build: string };
  /** Submissions of the build that has ended, and of those two. They wait. */
  submissions: { own: string; foreign: string; deleted: string };
  /** Links to apps of the same three builds, and the token of the first one. */
  links: { own: string; foreign: string; deleted: string; token: string };
  code: string;
  ids: Partial<Record<Column, string>>;
  as: (column: Column) => Credential;
}

/** Nearly all of its rows go to D1 in one call, because a test makes dozens of worlds. */
export async function makeWorld(): Promise<World> {
  const now = Date.now();
  const pool = unique('pool');
  const blob = await insertBlob(bytesOf('a source'));
  const batch: Batch = [];
  const project = await insertProject(undefined, {}, batch);
  const foreignProject = await insertProject(undefined, {}, batch);
  const deleted = await insertProject(undefined, { deletedAt: now }, batch);
  batch.push(db.insert(schema.pools).values({ name: pool, createdAt: now }));
  const [own, foreign] = [unique('wrk'), unique('wrk')];
  batch.push(...workerInsertions(own), ...workerInsertions(foreign));
  const build = (overrides: Parameters<typeof insertBuild>[0]) =>
    insertBuild({ pool, projectId: project, sourceSha256: blob, ...overrides }, batch);
  const running = await build({ attempt: 2 });
  const other = await build({});
  const over = { status: 'succeeded', endedAt: now } as const;
  const ended = await build(over);
  const untrusted = await build({ ...over, trusted: false });
  const ofForeign = await build({ ...over, projectId: foreignProject });
  const ofDeleted = await build({ ...over, projectId: deleted });
  for (const holder of [project, foreignProject]) await insertHold(holder, blob, batch);
  const ofOwn = { workerId: own };
  await insertAttempt(running, 1, { ...ofOwn, endedAt: now, verdict: 'vm_silent' }, batch);
  await insertAttempt(running, 2, ofOwn, batch);
  await insertAttempt(other, 1, { workerId: foreign }, batch);
  for (const buildId of [ended, untrusted, ofForeign, ofDeleted])
    await insertAttempt(buildId, 1, { ...ofOwn, endedAt: now }, batch);
  const file = { buildId: running, attempt: 1, name: 'out/app.ipa', sha256: blob, size: 8, createdAt: now };
  const { icon, ...app } = anApp(blob);
  batch.push(db.insert(schema.artifacts).values({ ...file, app, icon }));

  const appId = `com.example.${unique('app')}`;
  const shop = appOf({ platform: 'ios', kind: 'ipa', signing: 'app-store', id: appId, buildNumber: '8' });
  batch.push(db.insert(schema.artifacts).values({ ...file, buildId: ended, name: 'Shop.ipa', app: shop }));
  const submit = async (projectId: string, buildId: string) => {
    const of = { projectId, store: 'app-store-connect' as const, apps: [appId], pools: [pool], setBy: 'admin' };
    const storeKey = await storeKeyRow(of);
    const id = unique('sub');
    const submission = {
      ...{ id, projectId, buildId, store: of.store, state: 'waiting' as const, transitionId: id, attempt: 1, blob },
      ...{ artifact: 'Shop.ipa', sha256: blob, size: 8, appId: id, version: '1.0', buildNumber: '7', train: '1.0' },
      ...{ options: optionsOf(of.store), storeKeyId: storeKey.id, storeKeyVersion: 1 },
      ...{ createdByKey: 'admin', createdByRoot: 'admin' },
      ...{ createdAt: now, updatedAt: now, endsBy: now + HOUR_MS },
    };
    batch.push(db.insert(schema.storeKeys).values(storeKey), db.insert(schema.submissions).values(submission));
    return id;
  };
  const submissions = {
    own: await submit(project, ended),
    foreign: await submit(foreignProject, ofForeign),
    deleted: await submit(deleted, ofDeleted),
  };

  const link = async (projectId: string, buildId: string, token: string) => {
    const adHoc = appOf({ platform: 'ios', kind: 'ipa', signing: 'ad-hoc', id: appId });
    const id = unique('lnk');
    const row = {
      ...{ id, hash: await sha256Hex(token), projectId, buildId, attempt: 1, artifact: 'Preview.ipa', sha256: blob },
      ...{ createdByKey: 'admin', createdByRoot: 'admin', createdAt: now, expiresAt: now + HOUR_MS },
    };
    batch.push(
      db.insert(schema.artifacts).values({ ...file, buildId, name: 'Preview.ipa', app: adHoc, icon }),
      db.insert(schema.links).values(row),
    );
    return id;
  };
  const token = randomText(32);
  const links = {
    own: await link(project, ended, token),
    foreign: await link(foreignProject, ofForeign, randomText(32)),
    deleted: await link(deleted, ofDeleted, randomText(32)),
    token,
  };

  for (const platform of ['ios', 'android'] as const) {
    const counter = { projectId: project, platform, appId: 'com.example.app', value: 41, updatedAt: now };
    batch.push(db.insert(schema.buildNumbers).values(counter));
  }

  const make = async (spec: Partial<KeySpec>, overrides: Partial<KeyRow> = {}) => {
    const { row, secret } = await newKey({ name: 'x', scope: 'submit', ...spec }, now);
    batch.push(db.insert(schema.keys).values({ ...row, lastUsedAt: now, ...overrides }));
    return { id: row.id, secret };
  };
  const ofProject = { ...RIGHTS_TO_ALL, projects: [project], maxPriority: 0 };
  const ofAdmin = { ...RIGHTS_TO_ALL, may: [...GRANTS] };
  const made = {
    admin: await make({ scope: 'admin' }),
    submit: await make({}),
    submitTied: await make({ rights: { ...RIGHTS_TO_ALL, pools: [pool, 'another'] } }),
    submitElsewhere: await make({ rights: { ...RIGHTS_TO_ALL, pools: ['another'] } }),
    projectAdmin: await make({ rights: { ...ofAdmin, projects: [project, deleted] } }),
    projectAdminElsewhere: await make({ rights: { ...ofAdmin, projects: [foreignProject] } }),
    untrusted: await make({ rights: { ...ofProject, trusted: false } }),
    read: await make({ scope: 'read', rights: ofProject }),
    worker: await make({ scope: 'worker', workerId: own }),
    workerForeign: await make({ scope: 'worker', workerId: foreign }),
    revoked: await make({ scope: 'admin' }, { revokedAt: now }),
    expired: await make({ scope: 'admin', expiresAt: now - 1 }),
    replaced: await make({ scope: 'admin' }),
  };
  await insertHold(made.untrusted.id, blob, batch);
  const ofForeignKey = await make({ rights: { ...ofProject, projects: [foreignProject] } });
  await send(batch);
  const rotated = await rotateKey(env, made.replaced.id, 'admin', now - HOUR_MS, HOUR_MS / 2);
  if (!rotated.ok) throw new Error(rotated.message);
  await db.update(schema.keys).set({ lastUsedAt: now }).where(eq(schema.keys.id, rotated.key.id));
  const run = await tokenFor(running, 2, 'run', own);
  const tokenOf = (buildId: string, attempt: number, kind: TokenKind) => tokenFor(buildId, attempt, kind, own);
  const past = {
    buildId: running,
    attempt: 2,
    workerId: own,
    expiresAt: now - HOUR_MS,
  } as const;
  const secrets: Record<Column, string | null> = {
    none: null,
    garbage: 'tb_admin_of-nobody-0123456789abcdef0123456789',
    revoked: made.revoked.secret,
    expired: made.expired.secret,
    replaced: made.replaced.secret,
    forged: `${run.split('.')[0]}.${(await tokenOf(other, 1, 'run')).split('.')[1]}`,
    vmExpired: await signToken(env, { ...past, kind: 'vm' }),
    runExpired: await signToken(env, { ...past, kind: 'run' }),
    admin: made.admin.secret,
    submit: made.submit.secret,
    submitTied: made.submitTied.secret,
    submitElsewhere: made.submitElsewhere.secret,
    projectAdmin: made.projectAdmin.secret,
    projectAdminElsewhere: made.projectAdminElsewhere.secret,
    untrusted: made.untrusted.secret,
    read: made.read.secret,
    worker: made.worker.secret,
    workerForeign: made.workerForeign.secret,
    vm: await tokenOf(running, 2, 'vm'),
    vmForeign: await tokenOf(other, 1, 'vm'),
    vmStale: await tokenOf(running, 1, 'vm'),
    vmEnded: await tokenOf(ended, 1, 'vm'),
    run,
    runForeign: await tokenOf(other, 1, 'run'),
    runStale: await tokenOf(running, 1, 'run'),
    runEnded: await tokenOf(ended, 1, 'run'),
  };
  return {
    ...{ pool, blob, running, ended, untrusted, project },
    foreign: { project: foreignProject, build: ofForeign, key: ofForeignKey.id },
    deleted: { project: deleted, build: ofDeleted },
    ...{ submissions, links },
    worker: own,
    code: (await createEnrolment(env, own, 60, now)).code,
    ids: Object.fromEntries(Object.entries(made).map(([column, { id }]) => [column, id])),
    as: (column) => ({
      column,
      secret: secrets[column],
      target: column.endsWith('Ended') ? ended : running,
      attempt: /Stale|Ended/.test(column) ? 1 : 2,
    }),
  };
}
