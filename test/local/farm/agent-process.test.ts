import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AgentProcess } from '../../../local/farm/agent-process.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

test('why an agent did not start is said with its last line, also if that is read after its end', async () => {
  using dir = temporaryDir();
  const script = join(dir.path, 'agent.cjs');
  writeFileSync(
    script,
    `require('node:child_process').spawn('sh', ['-c', 'sleep 0.5; echo the reason >&2'], { stdio: 'inherit' }).unref()`,
  );
  await using agent = new AgentProcess({ script, configPath: '', env: {}, onEvent: () => {} });
  await expect(agent.started()).rejects.toThrow('the agent ended with exit code 0\nthe reason');
});
