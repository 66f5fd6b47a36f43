/** Holds all that the checks of this Mac may look at. */
import type { AgentConfig } from '../config.ts';
import { ConfigError } from '../config-findings.ts';
import type { Mac } from '../mac/programs.ts';
import type { Tart } from '../tart/tart.ts';

export interface HostContext {
  configPath: string;
  /** The config, or the reason why there is none. */
  config: AgentConfig | ConfigError;
  /** Made from the config; throws while there is none. */
  tart: () => Tart;
  mac: Mac;
}

/** For checks that depend on `config`. Throws the ConfigError. */
export function configOf({ config }: Pick<HostContext, 'config'>): AgentConfig {
  if (config instanceof ConfigError) throw config;
  return config;
}
