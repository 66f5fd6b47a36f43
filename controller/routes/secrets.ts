/**
 * Sets, lists and removes the stored secrets of a project, and its keys of stores. No answer holds a value.
 * `:id` names the project by its id or its name.
 */
import { z } from 'zod';
import {
  Id,
  type SecretList,
  SecretName,
  SecretRequest,
  type SecretsRemoved,
  type StoreKeyList,
  StoreKeyPath,
  type StoreKeyRemoved,
  StoreKeyRequest,
  type StoreKeySet,
  type StoreKeyView,
} from '#contract';
import { poolsToRemoveFrom, poolsToSet } from '../access/pools-of-secret.ts';
import { may } from '../access/rights.ts';
import { answerRefusal } from '../refusals.ts';
import { listSecrets, removeSecret, setSecret } from '../secrets/stored-secrets.ts';
import type { Settings } from '../settings.ts';
import { listStoreKeys, removeStoreKey, setStoreKey } from '../stores/store-keys.ts';
import { valid } from '../validate.ts';
import type { On } from './register.ts';

/** Room for a file of 256 KiB in base64. */
const SECRET_MAX_BYTES = 512 * 1024;

const NameParam = z.object({ id: Id, name: SecretName });
/**
 * Without `pool`: all pools that the key reaches. A misspelt `pool` is refused, because it would mean all.
 */
const PoolQuery = z.strictObject({ pool: Id.optional() });

export function secretRoutes(on: On): void {
  on('GET /api/projects/:id/secrets')(valid('query', PoolQuery), async (c) => {
    const { key, project } = c.var;
    const { pool } = c.req.valid('query');
    const isReached = (one: string) => may(key, 'secrets.list', { projectId: project.id, pool: one });
    const pools = pool === undefined ? key.rights.pools : [pool].filter(isReached);
    return c.json({ secrets: await listSecrets(c.env, project.id, { pools }) } satisfies SecretList);
  });

  /** 201 if a pool has received a secret of this name for the first time. */
  on('PUT /api/projects/:id/secrets/:name')(
    valid('param', NameParam),
    valid('json', SecretRequest, SECRET_MAX_BYTES),
    async (c) => {
      const { key, project } = c.var;
      const { name } = c.req.valid('param');
      const { value, file, path, pools: named } = c.req.valid('json');
      const found = await poolsToSet(c.env, key, project.id, named);
      if (!found.ok) return answerRefusal(c, found);
      const given = { name, path: path ?? null, content: value ?? file ?? '' };
      const set = await setSecret(c.env, project.id, given, found.pools, key.id, Date.now());
      if (!set.ok) return answerRefusal(c, set);
      const secrets = await listSecrets(c.env, project.id, { name, pools: found.pools });
      return c.json({ secrets } satisfies SecretList, set.made ? 201 : 200);
    },
  );

  on('DELETE /api/projects/:id/secrets/:name')(valid('param', NameParam), valid('query', PoolQuery), async (c) => {
    const { key, project } = c.var;
    const reached = poolsToRemoveFrom(key, project.id, c.req.valid('query').pool);
    if (!reached.ok) return answerRefusal(c, reached);
    const removed = await removeSecret(c.env, project.id, c.req.valid('param').name, reached.pools);
    return removed.ok ? c.json({ removed: removed.removed } satisfies SecretsRemoved) : answerRefusal(c, removed);
  });
}

/** Room for the longest private key with each character escaped. */
const STORE_KEY_MAX_BYTES = 128 * 1024;

export function storeKeyRoutes(on: On, { stores }: Pick<Settings, 'stores'>): void {
  /** Lists the store keys for a pool that the key reaches. */
  on('GET /api/projects/:id/store-keys')(async (c) => {
    const { key, project } = c.var;
    const isReached = ({ pools }: StoreKeyView) =>
      pools.some((pool) => may(key, 'stores.list', { projectId: project.id, pool }));
    return c.json({
      storeKeys: (await listStoreKeys(c.env, project.id)).filter(isReached),
    } satisfies StoreKeyList);
  });

  /** 201 if the project had no store key of this name. */
  on('PUT /api/projects/:id/store-keys/:name')(
    valid('param', StoreKeyPath),
    valid('json', StoreKeyRequest, STORE_KEY_MAX_BYTES),
    async (c) => {
      const { key, project } = c.var;
      const request = c.req.valid('json');
      const found = await poolsToSet(c.env, key, project.id, request.pools, 'store keys');
      if (!found.ok) return answerRefusal(c, found);
      const given = { projectId: project.id, name: c.req.valid('param').name, request, pools: found.pools };
      const set = await setStoreKey(c.env, given, key, stores, Date.now());
      if (!set.ok) return answerRefusal(c, set);
      const { storeKey, warnings } = set;
      return c.json({ storeKey, warnings } satisfies StoreKeySet, storeKey.version === 1 ? 201 : 200);
    },
  );

  on('DELETE /api/projects/:id/store-keys/:name')(valid('param', StoreKeyPath), async (c) => {
    const removed = await removeStoreKey(c.env, c.var.project.id, c.req.valid('param').name, c.var.key);
    return removed.ok ? c.json({ removed: removed.removed } satisfies StoreKeyRemoved) : answerRefusal(c, removed);
  });
}
