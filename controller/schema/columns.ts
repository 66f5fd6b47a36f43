/** Makes columns that many tables have. */
import { integer } from 'drizzle-orm/sqlite-core';

/** A moment, in milliseconds since 1970. */
export const at = (name: string) => integer(name);
