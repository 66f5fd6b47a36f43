/**
 * Defines the keys with which the controller speaks to a store. No message brings a private part back.
 */
import { z } from 'zod';
import { STORES } from '../closed-lists.ts';
import { Id, text, time } from '../fields.ts';
import { AppId } from '../messages/build-numbers.ts';
import { APPS_OF_STORE_KEY_MAX, POOLS_OF_SECRET_MAX, STORE_KEY_TEXT_MAX } from '../sizes.ts';

/** The parameters by which a path of the API names a store key. */
export const StoreKeyPath = z.object({ id: Id, name: Id });

/** The id of a key, as the page of App Store Connect shows it. */
export const AscKeyId = z.string().regex(/^[0-9A-Z]{8,20}$/, 'must be a key id, such as 2X9R4HXF34');

/** The numeric id of an app in App Store Connect. */
export const AscAppId = z
  .string()
  .regex(/^[0-9]{1,20}$/, 'must be the numeric Apple ID of the app, such as 1234567890');

const use = {
  /** The bundle ids and packages that the key may upload. */
  apps: z.array(AppId).min(1).max(APPS_OF_STORE_KEY_MAX),
  /** Left out: the trusted pools that exist now. Builds of a later pool are not uploaded with it. */
  pools: z.array(Id).min(1).max(POOLS_OF_SECRET_MAX).optional(),
};

/**
 * Sets a store key. The controller checks it with the store before it keeps it. Unknown fields are refused,
 * because a misspelt `pools` would mean all of them.
 */
export const StoreKeyRequest = z.discriminatedUnion('store', [
  z.strictObject({
    store: z.literal('app-store-connect'),
    keyId: AscKeyId,
    /** Left out for an individual key. */
    issuerId: z.guid('must be a UUID').optional(),
    /** The text of AuthKey_*.p8. */
    privateKey: text(STORE_KEY_TEXT_MAX).min(1),
    ...use,
  }),
  z.strictObject({
    store: z.literal('google-play'),
    /** The text of the service account's JSON file. */
    serviceAccount: text(STORE_KEY_TEXT_MAX).min(1),
    ...use,
  }),
]);
export type StoreKeyRequest = z.infer<typeof StoreKeyRequest>;

export const StoreKeyView = z.object({
  id: z.string(),
  name: z.string(),
  store: z.enum(STORES),
  /** The key id of App Store Connect, or the e-mail address of the service account. */
  identity: z.string(),
  /**
   * Whether a key of App Store Connect was set with its issuer id. A key of a team needs it, an individual
   * one must not have it. Null for other stores, and if INPUTS_KEY lacks the key that opens it.
   */
  hasIssuerId: z.boolean().nullable().default(null),
  apps: z.array(z.string()),
  pools: z.array(z.string()),
  /** Grows with each new value. */
  version: z.number().int(),
  setBy: z.object({ keyId: z.string(), name: z.string().nullable() }),
  setAt: time,
});
export type StoreKeyView = z.infer<typeof StoreKeyView>;

export const StoreKeyList = z.object({ storeKeys: z.array(StoreKeyView) });
export type StoreKeyList = z.infer<typeof StoreKeyList>;

/** Answers a request that sets a store key. `warnings` has the checks that the store could not answer. */
export const StoreKeySet = z.object({ storeKey: StoreKeyView, warnings: z.array(z.string()) });
export type StoreKeySet = z.infer<typeof StoreKeySet>;

/** The key that was removed. Its submissions that have not ended fail. */
export const StoreKeyRemoved = z.object({ removed: StoreKeyView });
export type StoreKeyRemoved = z.infer<typeof StoreKeyRemoved>;
