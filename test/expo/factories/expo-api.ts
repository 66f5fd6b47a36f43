/**
 * Stands in for Expo's GraphQL API, as far as `eas build --local` asks it. It answers a query with exactly
 * the fields that the query names, as the real one does.
 *
 * eas-cli has port 3000 for a local API. {@link asEasOnMac} sends that to the port of this stand-in, so that
 * two tests at once never meet.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export const PROJECT_ID = '11111111-1111-4111-8111-111111111111';
export const TOKEN = 'expo-token-of-the-test';

export interface ExpoAccount {
  /** A robot has no user name. */
  actor?: 'User' | 'Robot';
  slug?: string;
  /** By environment. Expo never sends the secret ones. Null: it answers with an error. */
  variables?: Record<string, Record<string, string>> | null;
  /** The credentials that Expo keeps for the one app, in base64 where they are files. */
  ios?: { bundleId: string; p12: string; password: string; profile: string; distribution: string };
  android?: { applicationId: string; keystore: string; password: string; alias: string };
  /** The last build number that Expo gave. */
  buildVersion?: string;
}

export interface ExpoApi extends AsyncDisposable {
  port: number;
  /** The names of the operations, in the order in which they came. */
  asked: string[];
  /** Fields that a query named and this stand-in does not have. */
  unknown: string[];
  /** Build numbers that eas-cli has written back. */
  written: string[];
}

// biome-ignore lint/suspicious/noExplicitAny: a tree of values and of functions of arguments
type Tree = any;

/** `folder` has graphql in its node_modules, because eas-cli brings it. */
export async function startExpoApi(folder: string, account: ExpoAccount = {}): Promise<ExpoApi> {
  const { parse } = createRequire(join(folder, 'package.json'))('graphql');
  const asked: string[] = [];
  const unknown: string[] = [];
  const written: string[] = [];
  const root = treeOf(account, written);

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { query, variables = {}, operationName } = JSON.parse(Buffer.concat(chunks).toString('utf8') || '{}');
    const send = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (!query) return void send(404, { errors: [{ message: `there is no ${request.url}` }] });
    asked.push(operationName);
    if (request.headers.authorization !== `Bearer ${TOKEN}`)
      return void send(401, { errors: [{ message: 'The bearer token is invalid.' }] });
    const { definitions } = parse(query);
    const fragments = new Map<string, Tree>(definitions.map((one: Tree) => [one.name?.value, one]));
    try {
      const [operation] = definitions.filter(({ kind }: Tree) => kind === 'OperationDefinition');
      send(200, { data: select(root, operation.selectionSet, { fragments, variables, unknown }) });
    } catch (error) {
      const { message, errorCode } = error as NoSuchThing;
      send(200, { data: null, errors: [{ message, path: [], extensions: { errorCode } }] });
    }
  };
  const server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    unknown,
    written,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

class NoSuchThing extends Error {
  readonly errorCode = 'EXPERIENCE_NOT_FOUND';
}

function treeOf(
  { actor = 'User', slug = 'tiny', variables = {}, ios, android, buildVersion }: ExpoAccount,
  written: string[],
) {
  const owner = { __typename: 'User', id: 'u1', username: 'stub' };
  const account = {
    __typename: 'Account',
    id: 'a1',
    name: 'stub',
    ownerUserActor: owner,
    viewerUserPermission: { role: 'OWNER' },
  };
  const app = { __typename: 'App', id: PROJECT_ID, name: slug, slug, fullName: `@stub/${slug}`, ownerAccount: account };
  const team = { __typename: 'AppleTeam', id: 't1', appleTeamIdentifier: 'TEAM000000', appleTeamName: 'Stub' };
  const appleApp = { __typename: 'AppleAppIdentifier', id: 'i1', bundleIdentifier: ios?.bundleId };
  const earlier = '2026-01-01T00:00:00.000Z';
  const later = '2036-01-01T00:00:00.000Z';
  const profile = {
    id: 'p1',
    expiration: later,
    developerPortalIdentifier: 'PORTAL',
    provisioningProfile: ios?.profile,
    updatedAt: earlier,
    status: 'ACTIVE',
    appleTeam: team,
    appleDevices: [],
    appleAppIdentifier: appleApp,
  };
  const certificate = {
    id: 'c1',
    certificateP12: ios?.p12,
    certificatePassword: ios?.password,
    serialNumber: '01',
    developerPortalIdentifier: 'PORTAL',
    validityNotBefore: earlier,
    validityNotAfter: later,
    updatedAt: earlier,
    appleTeam: team,
    iosAppBuildCredentialsList: [],
  };
  const iosCredentials = {
    id: 'ic1',
    appleTeam: team,
    appleAppIdentifier: appleApp,
    pushKey: null,
    appStoreConnectApiKeyForSubmissions: null,
    iosAppBuildCredentialsList: ({ filter = {} }: Tree) =>
      !filter.iosDistributionType || filter.iosDistributionType === ios?.distribution
        ? [
            {
              id: 'ib1',
              iosDistributionType: ios?.distribution,
              distributionCertificate: certificate,
              provisioningProfile: profile,
            },
          ]
        : [],
  };
  const androidCredentials = {
    id: 'ac1',
    applicationIdentifier: android?.applicationId,
    isLegacy: false,
    androidFcm: null,
    googleServiceAccountKeyForFcmV1: null,
    googleServiceAccountKeyForSubmissions: null,
    androidAppBuildCredentialsList: [
      {
        id: 'ab1',
        isDefault: true,
        isLegacy: false,
        name: 'Build Credentials 1',
        androidKeystore: {
          id: 'k1',
          type: 'JKS',
          keystore: android?.keystore,
          keystorePassword: android?.password,
          keyAlias: android?.alias,
          keyPassword: android?.password,
          md5CertificateFingerprint: null,
          sha1CertificateFingerprint: null,
          sha256CertificateFingerprint: null,
          createdAt: later,
          updatedAt: earlier,
        },
      },
    ],
  };
  const whole = {
    ...app,
    githubRepository: null,
    environmentVariablesIncludingSensitive: ({ environment }: Tree) => {
      if (!variables) throw new NoSuchThing('Internal server error');
      return Object.entries(variables[environment] ?? {}).map(([name, value]) => ({
        id: name,
        name,
        value,
        environments: [environment],
        createdAt: later,
        updatedAt: earlier,
        scope: 'PROJECT',
        visibility: 'SENSITIVE',
        type: 'STRING',
      }));
    },
    latestAppVersionByPlatformAndApplicationIdentifier: buildVersion
      ? { id: 'v1', storeVersion: '1.0.0', buildVersion }
      : null,
    iosAppCredentials: ios ? [{ ...iosCredentials, app: { ...app, githubRepository: null } }] : [],
    androidAppCredentials: ({ filter }: Tree) =>
      android && filter.applicationIdentifier === android.applicationId
        ? [{ ...androidCredentials, app: { ...app, githubRepository: null } }]
        : [],
  };
  const find = (wanted: boolean, what: string) => {
    if (!wanted) throw new NoSuchThing(`Experience with ${what} does not exist.`);
    return whole;
  };
  return {
    meActor: {
      __typename: actor,
      id: 'u1',
      ...(actor === 'Robot' ? { firstName: 'robot' } : { username: 'stub', email: 'stub@example.dev' }),
      accounts: [account],
      featureGates: {},
      isExpoAdmin: false,
    },
    app: {
      byId: ({ appId }: Tree) => find(appId === PROJECT_ID, `id '${appId}'`),
      byFullName: ({ fullName }: Tree) => find(fullName === app.fullName, `name '${fullName}'`),
    },
    account: {
      byName: {
        ...account,
        appleAppIdentifiers: ({ bundleIdentifier }: Tree) => (bundleIdentifier === ios?.bundleId ? [appleApp] : []),
      },
    },
    appVersion: {
      createAppVersion: ({ appVersionInput }: Tree) => {
        written.push(appVersionInput.buildVersion);
        return { id: 'v2' };
      },
    },
  };
}

interface Asking {
  fragments: Map<string, Tree>;
  variables: Tree;
  unknown: string[];
}

/** A Robot is an Actor, and a User is a UserActor too. */
const KINDS: Record<string, string[]> = { User: ['User', 'UserActor', 'Actor'], Robot: ['Robot', 'Actor'] };

function select(value: Tree, set: Tree, asking: Asking): Tree {
  if (value === null || value === undefined || !set) return value ?? null;
  if (Array.isArray(value)) return value.map((one) => select(one, set, asking));
  const result: Tree = {};
  for (const one of set.selections) {
    if (one.kind !== 'Field') {
      const fragment = one.kind === 'FragmentSpread' ? asking.fragments.get(one.name.value) : one;
      const kind = fragment.typeCondition.name.value;
      if ((KINDS[value.__typename] ?? [kind]).includes(kind))
        Object.assign(result, select(value, fragment.selectionSet, asking));
      continue;
    }
    const [include] = one.directives.filter((directive: Tree) => directive.name.value === 'include');
    if (include && !argumentOf(include.arguments[0].value, asking)) continue;
    const name = one.name.value;
    if (!(name in value) && name !== '__typename') asking.unknown.push(`${value.__typename ?? ''}.${name}`);
    const args = Object.fromEntries(
      one.arguments.map((each: Tree) => [each.name.value, argumentOf(each.value, asking)]),
    );
    const found = typeof value[name] === 'function' ? value[name](args) : value[name];
    result[one.alias?.value ?? name] = select(found, one.selectionSet, asking);
  }
  return result;
}

function argumentOf(node: Tree, { variables }: Asking): Tree {
  if (node.kind === 'Variable') return variables[node.name.value];
  if (node.kind !== 'ObjectValue') return node.value;
  return Object.fromEntries(
    node.fields.map((one: Tree) => [one.name.value, argumentOf(one.value, { variables } as Asking)]),
  );
}

/**
 * The script that NODE_OPTIONS loads into each process of Node. In eas-cli alone it sends the port of a local
 * API to the stand-in, and it records every other connection. In eas-cli and in the engine, which refuse iOS
 * elsewhere, it calls the platform darwin, once the programs for this platform are loaded.
 */
export function asEasOnMac(port: number): string {
  const script = `
    import net from 'node:net';
    import { appendFileSync, realpathSync } from 'node:fs';
    import { createRequire } from 'node:module';
    let script = '';
    try { script = realpathSync(process.argv[1]); } catch {}
    const isEas = /[/]eas-cli[/]bin[/]run$/.test(script);
    const connect = net.Socket.prototype.connect;
    net.Socket.prototype.connect = function (...args) {
      const [options] = Array.isArray(args[0]) ? args[0] : args;
      const { host = 'localhost', port, path } = options ?? {};
      if (isEas && Number(port) === 3000) options.port = ${port};
      else if (port && !path) appendFileSync(process.env.RECORD + '/connections', host + ':' + port + ' ' + script + '\\n');
      return connect.apply(this, args);
    };
    if (isEas) Object.defineProperty(process, 'platform', { value: 'darwin' });
    if (/[/]eas-cli-local-build-plugin[/]bin[/]run$/.test(script)) {
      createRequire(script)('@expo/build-tools');
      Object.defineProperty(process, 'platform', { value: 'darwin' });
    }`;
  return `--import=data:text/javascript,${encodeURIComponent(script)}`;
}
