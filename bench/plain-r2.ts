/**
 * Serves the controller for bench/transfer.ts, and in the same Worker the plain R2 stream with which its
 * transfers are compared.
 */
import controller from '../controller/index.ts';

export { BlobUpload, BuildDeadline, BuildLog, StoreUpload } from '../controller/index.ts';

export default {
  async fetch(request, env, context) {
    const { pathname } = new URL(request.url);
    if (!pathname.startsWith('/plain/')) return controller.fetch!(request, env, context);
    if (request.method === 'PUT') {
      await env.BLOBS.put(pathname, request.body);
      return new Response(null, { status: 201 });
    }
    const object = await env.BLOBS.get(pathname);
    return object ? new Response(object.body) : new Response(null, { status: 404 });
  },
} satisfies ExportedHandler<Env>;
