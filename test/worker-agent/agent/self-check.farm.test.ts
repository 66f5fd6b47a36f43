import { afterEach, expect, test, vi } from 'vitest';
import { SelfCheck } from '../../../worker-agent/agent/self-check.ts';
import { loadConfig } from '../../../worker-agent/config.ts';
import type { HostEvent } from '../../../worker-agent/events.ts';
import { Images } from '../../../worker-agent/images/images.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { agentHost } from '../factories/agent-host.ts';
import { standInController } from '../servers/stand-in-controller.ts';

const { signal } = new AbortController();

afterEach(() => void vi.useRealTimers());

test('while both VM slots of the Mac are in use nothing is sent; a minute later it tries again', async () => {
  await using controller = await standInController();
  let findings = 0;
  controller.intercept = ({ path }, response) => {
    if (!path.endsWith('/findings')) return false;
    findings += 1;
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"state":"idle","nextMs":1000}');
    return true;
  };
  await using host = await agentHost(controller.url);
  const others = ['other-1', 'other-2'];
  for (const name of others) await host.runVm(name);
  const { configPath } = host;
  const config = await loadConfig(configPath);
  const tart = createTart(config);
  const events: HostEvent[] = [];
  const emit = (event: unknown) => void events.push(event as HostEvent);
  const selfCheck = new SelfCheck({ configPath, images: Images.open({ configPath, config, tart, emit }), emit });
  vi.useFakeTimers({ toFake: ['performance'] });

  selfCheck.switchedBack(signal);
  await selfCheck.settled();
  const waits = {
    ...{ type: 'self_check', ok: false },
    message: expect.stringMatching(/^no clone was examined yet: both VM slots are in use/),
  };
  expect({ findings, events }).toEqual({ findings: 0, events: [waits] });

  for (const name of others) host.stopVm(name);
  selfCheck.quarantined(signal);
  await selfCheck.settled();
  expect(findings).toBe(0);
  vi.advanceTimersByTime(60_000);
  selfCheck.quarantined(signal);
  await selfCheck.settled();
  expect({ findings, events }).toEqual({
    findings: 1,
    events: [waits, { type: 'self_check', ok: true, message: 'every blocking check passed' }],
  });
});
