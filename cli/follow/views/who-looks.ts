/** Says whether a person looks at this command. */

/** Some CI systems give their jobs a terminal, at which nobody sits. */
const isCi = (): boolean => !['', '0', 'false', undefined].includes(process.env.CI);

export const hasPerson = (): boolean =>
  !isCi() && [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);

/** Whether standard output can have a line that is drawn again and again. */
export const hasScreen = (): boolean => process.stdout.isTTY && process.env.TERM !== 'dumb' && !isCi();
