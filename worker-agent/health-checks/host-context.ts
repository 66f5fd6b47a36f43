/** Holds all that the checks of this Mac and of its images may look at. */
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

/** An image of this Mac, as doctor examines it. */
export interface ExaminedImage {
  name: string;
  /** The VM that its builds are cloned from. */
  vm: string;
  /** The host key that its clones show, as `SHA256:…`, if it is pinned. */
  hostKey: string | undefined;
  /** Trusts only this host key from now on. */
  pin(hostKey: string): Promise<unknown>;
}

export interface ImageContext extends HostContext {
  image: ExaminedImage;
}

/** For checks that depend on `config`. Throws the ConfigError. */
export function configOf({ config }: Pick<HostContext, 'config'>): AgentConfig {
  if (config instanceof ConfigError) throw config;
  return config;
}
