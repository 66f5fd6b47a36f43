#!/usr/bin/env node
/**
 * Runs the command line for people who build apps. This file handles the whole process: its folder, its
 * signals, an output that breaks off, and its exit code. run-command.ts does the rest.
 *
 * Invariant: only this file sets the exit code.
 */
import { Interrupts } from './interrupts.ts';
import { runCommand } from './run-command.ts';

// `npm run` starts each script in the folder of its package. Paths count from the folder of the person.
const { npm_lifecycle_event, INIT_CWD } = process.env;
if (npm_lifecycle_event === 'expo-build' && INIT_CWD) process.chdir(INIT_CWD);

// The program that reads our output may end first, as `head` does, or somebody may close the window.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && !(stream.isTTY && error.code === 'EIO')) throw error;
  });

// After the command, the process waits only for the reader of its output. The next Ctrl-C ends that.
using interrupts = new Interrupts();
process.exitCode = await runCommand(interrupts);
