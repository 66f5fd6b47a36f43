export default { fetch: () => new Response('x') };

import { DurableObject } from 'cloudflare:workers';
export class BuildDeadline extends DurableObject {}
export class BuildLog extends DurableObject {}
