/** Names the entry of a controller whose stores do not answer, for `startController`. */
export const SILENT_STORES = { entry: 'test/set-up/controller/worker.ts' };
