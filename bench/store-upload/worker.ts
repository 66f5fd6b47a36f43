/**
 * Serves bench/store-upload.ts: runs one step of an upload to App Store Connect an invocation, and streams
 * the same bytes without steps.
 */
import controller from '../../controller/index.ts';
import { appStore } from '../../controller/stores/app-store.ts';
import type { StepAnswered, StepAsked } from './step.ts';

export { BlobUpload, BuildDeadline, BuildLog } from '../../controller/index.ts';

const FILE = 'bench/app.ipa';

export default {
  async fetch(request, env, context) {
    const url = new URL(request.url);
    if (url.pathname === '/file') {
      await env.BLOBS.put(FILE, request.body);
      return new Response(null, { status: 201 });
    }
    if (url.pathname === '/plain') {
      const object = await env.BLOBS.get(FILE);
      return fetch(url.searchParams.get('to')!, { method: 'PUT', body: object!.body });
    }
    if (url.pathname !== '/step') return controller.fetch!(request, env, context);
    const asked = await request.json<StepAsked>();
    let subrequests = 0;
    const real = globalThis.fetch;
    globalThis.fetch = (...given) => {
      subrequests += 1;
      return real(...given);
    };
    try {
      const result = await appStore.steps[asked.step]!.run(
        {
          ...asked.context,
          now: Date.now(),
          signal: request.signal,
          bytes: async (offset, length) => {
            subrequests += 1;
            return (await env.BLOBS.get(FILE, { range: { offset, length } }))!.body;
          },
        },
        asked.data,
      );
      return Response.json({ result, subrequests } satisfies StepAnswered);
    } finally {
      globalThis.fetch = real;
    }
  },
} satisfies ExportedHandler<Env>;
