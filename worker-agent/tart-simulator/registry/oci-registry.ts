/**
 * Speaks the protocol of OCI registries: manifests and blobs of one repository. Like Tart, it asks over HTTPS
 * unless `insecure` is set, and it words its failures as Tart does.
 */
import { digestOfBytes, MANIFEST_TYPE, type Manifest } from './manifest.ts';

/** The network failed, so another try may succeed. Tart prints the system's words. */
export class NetworkError extends Error {
  override name = 'NetworkError';
}

export class OciRegistry {
  readonly #base: string;

  constructor(host: string, namespace: string, { insecure }: { insecure: boolean }) {
    this.#base = `${insecure ? 'http' : 'https'}://${host}/v2/${namespace}`;
  }

  async pullManifest(reference: string): Promise<{ manifest: Manifest; digest: string; text: string }> {
    const headers = { Accept: MANIFEST_TYPE };
    const response = await this.#ask(`${this.#base}/manifests/${reference}`, { headers });
    const bytes = Buffer.from(await bodyOf(response));
    expectStatus(response, 200, 'pulling manifest', bytes.toString());
    return { manifest: JSON.parse(bytes.toString()), digest: digestOfBytes(bytes), text: bytes.toString() };
  }

  async pushManifest(reference: string, text: string): Promise<void> {
    const headers = { 'Content-Type': MANIFEST_TYPE };
    const response = await this.#ask(`${this.#base}/manifests/${reference}`, { method: 'PUT', headers, body: text });
    expectStatus(response, 201, 'pushing manifest', await response.text());
  }

  async hasBlob(digest: string): Promise<boolean> {
    const response = await this.#ask(`${this.#base}/blobs/${digest}`, { method: 'HEAD' });
    return response.status === 200;
  }

  async pushBlob(bytes: Buffer): Promise<string> {
    const digest = digestOfBytes(bytes);
    const begun = await this.#ask(`${this.#base}/blobs/uploads/`, { method: 'POST' });
    expectStatus(begun, 202, 'pushing blob (POST)', await begun.text());
    const location = new URL(begun.headers.get('location') ?? '', `${this.#base}/`);
    location.searchParams.set('digest', digest);
    const headers = { 'Content-Type': 'application/octet-stream' };
    const response = await this.#ask(location.href, { method: 'PUT', headers, body: new Uint8Array(bytes) });
    expectStatus(response, 201, `pushing blob (PUT) to ${location.href}`, await response.text());
    return digest;
  }

  /** Passes on each part as it arrives. `from` skips the bytes that an earlier try has brought. */
  async pullBlob(digest: string, from: number, onPart: (part: Uint8Array) => void): Promise<void> {
    const headers: Record<string, string> = from > 0 ? { Range: `bytes=${from}-` } : {};
    const response = await this.#ask(`${this.#base}/blobs/${digest}`, { headers });
    if (response.status !== (from > 0 ? 206 : 200)) expectStatus(response, 200, 'pulling blob', await response.text());
    try {
      for await (const part of response.body ?? []) onPart(part);
    } catch {
      throw new NetworkError('The network connection was lost.');
    }
  }

  async #ask(url: string, init: RequestInit): Promise<Response> {
    const response = await this.#fetch(url, init);
    const { TART_REGISTRY_USERNAME: user, TART_REGISTRY_PASSWORD: password } = process.env;
    if (response.status !== 401 || user === undefined || password === undefined) return response;
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    return this.#fetch(url, { ...init, headers: { ...init.headers, authorization } });
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(url, init);
    } catch (error) {
      const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
      if (/SSL|TLS|wrong version number|packet length/i.test(`${cause?.code} ${cause?.message}`))
        throw new Error('An SSL error has occurred and a secure connection to the server cannot be made.');
      if (cause?.code === 'ENOTFOUND' || cause?.code === 'EAI_AGAIN')
        throw new NetworkError('A server with the specified hostname could not be found.');
      if (cause?.code === 'ECONNREFUSED') throw new NetworkError('Could not connect to the server.');
      throw new NetworkError('The network connection was lost.');
    }
  }
}

async function bodyOf(response: Response): Promise<ArrayBuffer> {
  try {
    return await response.arrayBuffer();
  } catch {
    throw new NetworkError('The network connection was lost.');
  }
}

function expectStatus({ status }: Response, expected: number, when: string, details: string): void {
  if (status === expected) return;
  if (status === 401) throw new Error(`AuthFailed(why: "no credentials", details: ${JSON.stringify(details)})`);
  throw new Error(
    `UnexpectedHTTPStatusCode(when: ${JSON.stringify(when)}, code: ${status}, details: ${JSON.stringify(details.slice(0, 1_000))})`,
  );
}
