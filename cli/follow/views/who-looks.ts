/** Tells whether a person watches this command. */

/** Some CI systems give their jobs a terminal without a person. */
const isCi = (): boolean => !['', '0', 'false', undefined].includes(process.env.CI);

export const hasPerson = (): boolean =>
  !isCi() && [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);

/** Whether standard output can show a line that is redrawn again and again. */
export const hasScreen = (): boolean => process.stdout.isTTY && process.env.TERM !== 'dumb' && !isCi();
