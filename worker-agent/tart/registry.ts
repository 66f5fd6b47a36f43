/**
 * Pulls images from a registry and pushes VMs to one. Tart has the credentials: from `tart login`, or from
 * the variables TART_REGISTRY_….
 *
 * Tart verifies no digest. A caller that pulls by digest compares it with `digestName` afterwards.
 */
import type { TartResult } from './answers.ts';
import type { TartCall } from './call.ts';

export interface TartRegistry {
  /** `reference` is `HOST/NAME@DIGEST` or `HOST/NAME:TAG`. A pull without progress is ended. */
  pull(reference: string, options?: TransferOptions): Promise<TartResult>;
  /** The image is in Tart's cache afterwards, as if it had been pulled. */
  push(vm: string, reference: string, options?: TransferOptions): Promise<TartResult>;
  /** The name by digest of an image in the cache. */
  digestName(reference: string, signal?: AbortSignal): Promise<TartResult<{ reference: string }>>;
  /** Deletes an image from the cache. */
  removePulled(reference: string): Promise<TartResult>;
}

export interface TransferOptions {
  onPercent?: (percent: number) => void;
  signal?: AbortSignal | undefined;
}

/** A registry on this Mac speaks http. */
const isLoopback = (reference: string) => /^(localhost|127\.[\d.]+|\[::1\])(:\d+)?\//.test(reference);

export function createTartRegistry({ call }: TartCall): TartRegistry {
  const transfer = async (step: 'pull' | 'push', words: string[], reference: string, options: TransferOptions) => {
    const { onPercent = () => {}, signal } = options;
    const result = await call(step, [step, ...words, ...(isLoopback(reference) ? ['--insecure'] : [])], {
      signal,
      // Without CI Tart overwrites one line of a terminal.
      env: { CI: '1' },
      onLine: (line) => {
        const percent = /^\s*(\d{1,3})%\s*$/.exec(line)?.[1];
        if (percent !== undefined && Number(percent) <= 100) onPercent(Number(percent));
      },
    });
    return result.ok ? { ok: true as const } : result;
  };

  return {
    pull: (reference, options = {}) => transfer('pull', [reference], reference, options),
    push: (vm, reference, options = {}) => transfer('push', [vm, reference, '--populate-cache'], reference, options),

    async digestName(reference, signal) {
      const result = await call('fqn', ['fqn', reference], { signal });
      return result.ok ? { ok: true, reference: result.stdout.trim() } : result;
    },

    async removePulled(reference) {
      const result = await call('delete', ['delete', reference]);
      return result.ok || result.kind === 'not_found' ? { ok: true } : result;
    },
  };
}
