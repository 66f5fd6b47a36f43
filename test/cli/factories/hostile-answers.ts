/** Stands in front of a controller whose texts became hostile: names, messages, titles. */
import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';

/** Writes to the clipboard, sets the title, clears the screen, begins a line, and turns the rest round. */
export const HOSTILE = '\u001b]52;c;aGk=\u0007\u001b]0;title\u0007\u001b[2J\r\n::error::\u202e\u009b31m\u2028';

/** Fields in which the contract takes any text, or a list of such texts. */
const SPOILED =
  /^(id|name|project|profile|command|appId|path|waitingFor|workerId|title|explanation|advice|message|sentence|line|stateReason|pool|keyId|step|supersededBy|url|warnings)$/;

const spoilText = (value: unknown) => (typeof value === 'string' ? `${value}${HOSTILE}` : value);

export async function hostileAnswers(targetUrl: string) {
  const server = createServer(async (incoming, outgoing) => {
    const { method = 'GET', url = '/', headers } = incoming;
    const body = ['GET', 'HEAD'].includes(method) ? undefined : new Uint8Array(await buffer(incoming));
    const passed = { authorization: headers.authorization ?? '', 'content-type': headers['content-type'] ?? '' };
    const response = await fetch(`${targetUrl}${url}`, { method, headers: passed, ...(body?.length && { body }) });
    // The key of a text in a list is its number, so the list is spoiled as a whole.
    const spoil = (key: string, value: unknown) =>
      !SPOILED.test(key) ? value : Array.isArray(value) ? value.map(spoilText) : spoilText(value);
    const text = JSON.stringify(JSON.parse(await response.text(), spoil));
    outgoing.writeHead(response.status, { 'content-type': 'application/json' }).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
