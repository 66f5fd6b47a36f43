/**
 * The controller as `npm run dev` runs it: the deployed one, and one request more, which sets the fixture back. In here, since a second
 * process that writes the same database locks the controller out of it.
 */
import controller from '../controller/index.ts';
import { FIXTURE_PATH, fixtureSql } from './dev-fixture.ts';

export { BlobUpload, BuildDeadline, BuildLog } from '../controller/index.ts';

export default {
  ...controller,
  async fetch(request, env, context) {
    if (request.method !== 'POST' || new URL(request.url).pathname !== FIXTURE_PATH)
      return controller.fetch!(request, env, context);
    if (request.headers.get('X-API-Key') !== env.ADMIN_KEY) return new Response(null, { status: 401 });
    const statements = await fixtureSql(Date.now());
    await env.DB.batch(statements.map((sql) => env.DB.prepare(sql)));
    return new Response(null, { status: 204 });
  },
} satisfies ExportedHandler<Env>;
