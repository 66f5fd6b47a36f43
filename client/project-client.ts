/**
 * Sends requests about a key and its projects to a controller: counters of build numbers, stored secrets,
 * store keys, links to install pages, and builds that are run again.
 */
import { z } from 'zod';
import {
  type Build,
  type CachedBuild,
  CachedBuildAnswer,
  CounterList,
  CounterSet,
  type CounterView,
  Link,
  LinkCreated,
  LinkList,
  type LinkRequest,
  Me,
  Project,
  SecretList,
  type SecretRequest,
  SecretsRemoved,
  type SecretView,
  StoreKeyList,
  StoreKeyRemoved,
  type StoreKeyRequest,
  StoreKeySet,
  type StoreKeyView,
} from '#contract';
import type { Connection } from './request.ts';

const ProjectList = z.object({ projects: z.array(Project) });

/** `project` is the id or the name of a project. */
const pathOf = (project: string) => `/api/projects/${encodeURIComponent(project)}`;

const STORE_KEY_MS = 30_000;

export class ProjectClient {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** The key of the connection, and what it may do. */
  me(signal?: AbortSignal): Promise<Me> {
    return this.connection.ask({ method: 'GET', path: '/api/me', answer: Me, signal });
  }

  /** The projects that the key reaches. */
  async projects(timeoutMs?: number): Promise<Project[]> {
    const call = {
      method: 'GET',
      path: '/api/projects',
      answer: ProjectList,
      ...(timeoutMs && { timeoutMs }),
    } as const;
    return (await this.connection.ask(call)).projects;
  }

  /** The build that a machine may run instead of compiling one of this fingerprint. Null if there is none. */
  async cachedBuild(
    project: string,
    platform: Build['platform'],
    fingerprint: string,
    timeoutMs?: number,
  ): Promise<CachedBuild | null> {
    const path = `${pathOf(project)}/build-cache?${new URLSearchParams({ platform, fingerprint })}`;
    const call = { method: 'GET', path, answer: CachedBuildAnswer, ...(timeoutMs && { timeoutMs }) } as const;
    return (await this.connection.ask(call)).cached;
  }

  /** The counters of build numbers that the apps of the project have. */
  async counters(project: string): Promise<CounterView[]> {
    const path = `${pathOf(project)}/numbers`;
    return (await this.connection.ask({ method: 'GET', path, answer: CounterList })).counters;
  }

  /** Sets the counter of an app, for a key with the right `numbers`. The next build gets one more. */
  setCounter(project: string, platform: Build['platform'], appId: string, value: number): Promise<CounterSet> {
    const path = `${pathOf(project)}/numbers/${platform}/${encodeURIComponent(appId)}`;
    return this.connection.ask({ method: 'PUT', path, answer: CounterSet, json: { value } });
  }

  /** The secrets of `pool`, or of all pools that the key reaches. */
  async secrets(project: string, pool?: string): Promise<SecretView[]> {
    const path = `${pathOf(project)}/secrets${poolQuery(pool)}`;
    return (await this.connection.ask({ method: 'GET', path, answer: SecretList })).secrets;
  }

  /** The answer has the secret once for each pool. */
  async setSecret(project: string, name: string, json: SecretRequest): Promise<SecretView[]> {
    const path = `${pathOf(project)}/secrets/${encodeURIComponent(name)}`;
    return (await this.connection.ask({ method: 'PUT', path, answer: SecretList, json })).secrets;
  }

  /** Removes it from `pool`, or from all pools that the key reaches. */
  async removeSecret(project: string, name: string, pool?: string): Promise<SecretsRemoved['removed']> {
    const path = `${pathOf(project)}/secrets/${encodeURIComponent(name)}${poolQuery(pool)}`;
    return (await this.connection.ask({ method: 'DELETE', path, answer: SecretsRemoved })).removed;
  }

  async storeKeys(project: string): Promise<StoreKeyView[]> {
    const path = `${pathOf(project)}/store-keys`;
    return (await this.connection.ask({ method: 'GET', path, answer: StoreKeyList })).storeKeys;
  }

  /** The controller asks the store for up to 10 s whether it accepts the key. */
  setStoreKey(project: string, name: string, json: StoreKeyRequest): Promise<StoreKeySet> {
    const path = `${pathOf(project)}/store-keys/${encodeURIComponent(name)}`;
    return this.connection.ask({ method: 'PUT', path, answer: StoreKeySet, json, timeoutMs: STORE_KEY_MS });
  }

  async removeStoreKey(project: string, name: string): Promise<StoreKeyView> {
    const path = `${pathOf(project)}/store-keys/${encodeURIComponent(name)}`;
    return (await this.connection.ask({ method: 'DELETE', path, answer: StoreKeyRemoved })).removed;
  }

  /** Makes a link to the install page of a build. Only this answer has its address. */
  createLink(buildId: string, json: LinkRequest): Promise<LinkCreated> {
    return this.connection.ask({ method: 'POST', path: linksOf(buildId), answer: LinkCreated, json });
  }

  async linksOfBuild(buildId: string): Promise<Link[]> {
    return (await this.connection.ask({ method: 'GET', path: linksOf(buildId), answer: LinkList })).links;
  }

  /** A page of the links of a project, newest first. */
  linksOfProject(project: string, query: { limit: string; cursor?: string }): Promise<LinkList> {
    const path = `${pathOf(project)}/links?${new URLSearchParams(query)}`;
    return this.connection.ask({ method: 'GET', path, answer: LinkList });
  }

  /** Ends a link at once. */
  revokeLink(linkId: string): Promise<Link> {
    const path = `/api/links/${encodeURIComponent(linkId)}`;
    return this.connection.ask({ method: 'DELETE', path, answer: Link });
  }
}

const linksOf = (buildId: string) => `/api/builds/${encodeURIComponent(buildId)}/links`;

const poolQuery = (pool?: string) => (pool === undefined ? '' : `?pool=${encodeURIComponent(pool)}`);
