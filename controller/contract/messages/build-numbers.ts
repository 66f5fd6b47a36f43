/**
 * Defines the counter of build numbers that each app of a project has: how it is set and seen, and how an
 * attempt gets the number of its build.
 */
import { z } from 'zod';
import { PLATFORMS } from '../closed-lists.ts';
import { Id, line, time } from '../fields.ts';
import { ANDROID_BUILD_NUMBER_MAX, IOS_BUILD_NUMBER_MAX } from '../sizes.ts';

/** A bundle id of iOS, or a package of Android. */
export const AppId = z
  .string()
  .max(155)
  .regex(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$/, 'must be a bundle id or a package, such as com.example.app');

/** CFBundleVersion or versionCode, as a whole number. */
export const BuildNumber = z.number().int().min(1).max(IOS_BUILD_NUMBER_MAX);

/** The highest number that the store of the platform takes. */
export const buildNumberMax = (platform: (typeof PLATFORMS)[number]): number =>
  platform === 'android' ? ANDROID_BUILD_NUMBER_MAX : IOS_BUILD_NUMBER_MAX;

/** The app that a build makes, as its project says. */
export const App = z.strictObject({
  id: AppId,
  /** Such as 1.4.0. It is shown, and nothing depends on it. */
  version: line(64).optional(),
  /** The number that the project itself has. The build gets this one or a higher one. */
  buildNumber: BuildNumber.optional(),
});
export type App = z.infer<typeof App>;

/**
 * Asks for the number of the build. All attempts of a build get the number that the first one got, whatever
 * they ask for.
 */
export const BuildNumberRequest = z.strictObject({
  app: App,
  /** True: one more than the counter has. False: the number that the counter has. */
  increment: z.boolean(),
});
export type BuildNumberRequest = z.infer<typeof BuildNumberRequest>;

export const BuildNumberAnswer = z.object({ appId: z.string(), buildNumber: BuildNumber });
export type BuildNumberAnswer = z.infer<typeof BuildNumberAnswer>;

/** Sets a counter to the number that the app has in its store now. The next build gets one more. */
export const CounterRequest = z.strictObject({ value: BuildNumber });
export type CounterRequest = z.infer<typeof CounterRequest>;

export const CounterView = z.object({
  platform: z.enum(PLATFORMS),
  appId: z.string(),
  value: z.number().int(),
  /**
   * The key that set it last. Null if the own number of a build made it, and for a reader that may set no
   * counters.
   */
  setBy: z.object({ keyId: z.string(), name: z.string().nullable() }).nullable(),
  updatedAt: time,
});
export type CounterView = z.infer<typeof CounterView>;

/** Answers a request that sets a counter. `was` is null if there was none. */
export const CounterSet = CounterView.extend({ was: z.number().int().nullable() });
export type CounterSet = z.infer<typeof CounterSet>;

export const CounterList = z.object({ counters: z.array(CounterView) });
export type CounterList = z.infer<typeof CounterList>;

/** The parameters by which a path of the API names a counter. */
export const CounterPath = z.object({ id: Id, platform: z.enum(PLATFORMS), appId: AppId });
