/** Tests a shell over a real SSH server: its window, and what it is not given. */
import { expect } from 'vitest';
import { openShell } from '../../../worker-agent/guest/commands.ts';
import { connectSsh } from '../../../worker-agent/guest/ssh.ts';
import { testWith } from '../../set-up/test-with.ts';
import { until } from '../factories/until.ts';
import { startOpenSsh } from '../servers/openssh-server.ts';

testWith('sshd')(
  'a shell has the window of the person, follows its size, and gets no SSH agent',

  async () => {
    await using server = await startOpenSsh();
    await using ssh = await connectSsh(server.target);
    const shell = await ssh.shell(openShell({ buildId: 'b', attempt: 1 }), { columns: 90, rows: 30 });
    let printed = '';
    shell.stdout.on('data', (bytes) => (printed += bytes));
    shell.stdin.write('stty size; echo "agent:$SSH_AUTH_SOCK."\n');
    await until(() => /30 90\r\nagent:\.\r\n/.test(printed), 'the size', 30_000);
    shell.resize({ columns: 100, rows: 40 });
    shell.stdin.write('stty size; exit 4\n');
    expect(await shell.done).toBe(4);
    expect(printed).toContain('40 100\r\n');
  },
);
