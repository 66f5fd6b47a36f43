/** For `startController`: a controller whose stores do not answer. */
export const SILENT_STORES = { entry: 'test/set-up/controller/worker.ts' };
