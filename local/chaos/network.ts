/**
 * Stands between one Mac and the controller, for its agent and its VMs alike, so that the Mac's network can
 * be cut.
 *
 * Invariant: while the network is cut no byte passes in either direction and no connection ends. Both sides
 * must find out by themselves, as with a pulled cable.
 */
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type AgentConfigInput, saveConfig } from '../../worker-agent/config.ts';
import { HOST_SEEN_FROM_VM } from '../../worker-agent/tart-simulator/guest/gateway.ts';
import type { SimulatedMac } from '../farm/simulated-mac.ts';

export class MacNetwork implements AsyncDisposable {
  readonly #controller: URL;
  readonly #server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  /** The agent of the Mac must not run yet: it reads its config when it starts. */
  static async between(mac: Pick<SimulatedMac, 'configPath'>, controllerUrl: string): Promise<MacNetwork> {
    const network = new MacNetwork(controllerUrl);
    await new Promise<void>((resolve) => network.#server.listen(0, '127.0.0.1', resolve));
    const { port } = network.#server.address() as AddressInfo;
    const config = JSON.parse(await readFile(mac.configPath, 'utf8')) as AgentConfigInput;
    saveConfig(mac.configPath, {
      ...config,
      controllerUrl: `http://127.0.0.1:${port}`,
      vmControllerUrl: `http://${HOST_SEEN_FROM_VM}:${port}`,
    });
    return network;
  }

  constructor(controllerUrl: string) {
    this.#controller = new URL(controllerUrl);
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  /** Resets the connections that hung until now, like a router that has forgotten its connections. */
  restore(): void {
    this.#isCut = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.restore();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(inner: Socket): void {
    this.#hold(inner);
    if (this.#isCut) return void inner.pause();
    const { hostname, port } = this.#controller;
    const outer = connect({ host: hostname, port: Number(port), noDelay: true });
    this.#hold(outer);
    inner.pipe(outer).pipe(inner);
    for (const [socket, other] of [
      [inner, outer],
      [outer, inner],
    ] as const)
      socket.once('close', () => this.#isCut || other.destroy());
  }

  #hold(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {}); // the close event follows and is enough
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
