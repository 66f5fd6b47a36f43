#!/usr/bin/env node
/**
 * Runs the command line for people who build apps. What belongs to the whole process stands here: its folder,
 * its signals, an output that breaks off, and its exit code. run-command.ts does the rest.
 *
 * Invariant: the exit code is set here alone.
 */
import { Interrupts } from './interrupts.ts';
import { runCommand } from './run-command.ts';

// `npm run` starts each script in the folder of its package. Paths count from where the person is.
const { npm_lifecycle_event, INIT_CWD } = process.env;
if (npm_lifecycle_event === 'expo-build' && INIT_CWD) process.chdir(INIT_CWD);

// The program that reads our output may end before us, as `head` does, or the window may be closed.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && !(stream.isTTY && error.code === 'EIO')) throw error;
  });

// After the command only its reader is waited for, and the next Ctrl-C ends that.
using interrupts = new Interrupts();
process.exitCode = await runCommand(interrupts);
