/** Makes the app of the controller once, because that takes long. Tests ask it with any bindings. */
import { createApp } from '../../../controller/app.ts';
import { SETTINGS } from '../../../controller/settings.ts';
import type { StoreAddresses } from '../../../controller/stores/step.ts';

const apps = new Map<StoreAddresses, ReturnType<typeof createApp>>();

export function appWith(stores: StoreAddresses = SETTINGS.stores): ReturnType<typeof createApp> {
  const app = apps.get(stores) ?? createApp({ ...SETTINGS, stores });
  apps.set(stores, app);
  return app;
}
