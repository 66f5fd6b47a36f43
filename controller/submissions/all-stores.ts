/** Lists the stores, each with its steps. */
import type { Store } from '#contract';
import { appStore } from '../stores/app-store.ts';
import { play } from '../stores/play.ts';
import type { StoreSteps } from '../stores/step.ts';

export type Stores = Readonly<Record<Store, StoreSteps<never>>>;

export const STORES: Stores = { 'app-store-connect': appStore, 'google-play': play };
