/**
 * Checks that this Mac reaches the controller, and that the controller knows its key. To add a check,
 * add an entry.
 *
 * Calls `fetch` itself, because it has to distinguish a stranger's answer from a controller's.
 */
import { DAY_MS, Health, Me } from '#contract';
import { CLOCK_TOLERANCE_MS, REQUEST_MS } from '../time-limits.ts';
import { inSeconds } from './figures.ts';
import { configOf, type HostContext } from './host-context.ts';
import { fail, type HealthCheck, pass, warn } from './run-checks.ts';

const KEY_AGE_MAX_DAYS = 90;

export const CONTROLLER_CHECKS: readonly HealthCheck<HostContext>[] = [
  {
    id: 'controller_reachable',
    title: 'Mac reaches the controller',
    why: 'The agent asks the controller for builds, and reports to it that they live.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: REQUEST_MS,
    fix: 'Open controllerUrl followed by /health in a browser on this Mac.',
    async run(context, signal) {
      const { controllerUrl } = configOf(context);
      const answer = await get(`${controllerUrl}/health`, signal);
      if (answer.status !== 200) return fail(`${controllerUrl}/health answered ${answer.status}`);
      return Health.safeParse(answer.json).success
        ? pass(controllerUrl)
        : fail(`something else than a controller answers at ${controllerUrl}/health`);
    },
  },
  {
    id: 'api_key',
    title: 'Key is that of a worker',
    why: 'The controller knows by the key which worker this is.',
    blocking: true,
    dependsOn: ['controller_reachable'],
    timeoutMs: REQUEST_MS,
    fix: 'Register this worker with the controller, and set apiKey in the config to the key that it shows.',
    async run(context, signal) {
      const { controllerUrl, apiKey } = configOf(context);
      const answer = await get(`${controllerUrl}/api/me`, signal, { Authorization: `Bearer ${apiKey}` });
      if (answer.status === 401) return fail('the controller does not know this key, or it was revoked');
      const me = Me.safeParse(answer.json);
      if (answer.status !== 200 || !me.success) return fail(`${controllerUrl}/api/me answered ${answer.status}`);
      if (me.data.scope !== 'worker') return fail(`the scope of this key is ${me.data.scope}, not worker`);
      return pass(`worker ${me.data.workerId}`);
    },
  },
  {
    id: 'api_key_age',
    title: 'Key was renewed lately',
    why: 'Somebody who finds an old key cannot use it if it has been renewed.',
    blocking: false,
    dependsOn: ['api_key'],
    timeoutMs: REQUEST_MS,
    fix: 'Run `expo-worker rotate-key`.',
    async run(context, signal) {
      const { controllerUrl, apiKey } = configOf(context);
      const answer = await get(`${controllerUrl}/api/me`, signal, { Authorization: `Bearer ${apiKey}` });
      const { createdAt, expiresAt } = Me.parse(answer.json);
      if (expiresAt !== null) return warn(`it expires at ${expiresAt}`);
      if (createdAt === null) return pass('the controller does not say how old it is');
      const days = Math.floor((Date.now() - Date.parse(createdAt)) / DAY_MS);
      return days <= KEY_AGE_MAX_DAYS ? pass(`${days} days old`) : warn(`${days} days old`);
    },
  },
  {
    id: 'host_clock',
    title: 'Mac agrees with the controller on the time',
    why: 'Certificates and tokens are valid for a certain time only.',
    blocking: false,
    dependsOn: ['controller_reachable'],
    timeoutMs: REQUEST_MS,
    fix: 'Turn on "Set time and date automatically". VMs get their time from this Mac.',
    async run(context, signal) {
      const before = Date.now();
      const answer = await get(`${configOf(context).controllerUrl}/health`, signal);
      const offMs = (before + Date.now()) / 2 - Date.parse(Health.parse(answer.json).time);
      const detail = `off by ${inSeconds(offMs)}`;
      return Math.abs(offMs) <= CLOCK_TOLERANCE_MS ? pass(detail) : warn(detail);
    },
  },
];

/** Throws an error of one line when there is no answer. */
async function get(url: string, signal: AbortSignal, headers: Record<string, string> = {}) {
  try {
    const response = await fetch(url, { signal, headers, redirect: 'manual' });
    const json: unknown = await response.json().catch(() => undefined);
    return { status: response.status, json };
  } catch (error) {
    const { message, cause } = error as Error & { cause?: Error };
    throw new Error(`${url} does not answer: ${cause?.message || (cause as NodeJS.ErrnoException)?.code || message}`);
  }
}
