/** Finds targets and their settings in an Xcode project that has been read. Pure. */
import { fieldOf, textIn, textsIn } from './xcode-files.ts';

const APPLICATION = 'com.apple.product-type.application';
const FRAMEWORK = 'com.apple.product-type.framework';
/** More targets than this are not followed. */
const TARGETS_MAX = 100;

export interface XcodeTarget {
  id: string;
  name: string;
  productType: string;
}

export class XcodeProject {
  readonly #objects: unknown;
  readonly #root: string | null;

  /** `value`: what `readXcodeProject` returned. */
  constructor(value: unknown) {
    this.#objects = fieldOf(value, 'objects');
    this.#root = textIn(value, 'rootObject');
  }

  targets(): XcodeTarget[] {
    return Object.keys((this.#objects as object | undefined) ?? {}).flatMap((id) => this.#targetOf(id) ?? []);
  }

  targetNamed(name: string): XcodeTarget | null {
    return this.targets().find((one) => one.name === name) ?? null;
  }

  applications(): XcodeTarget[] {
    return this.targets().filter(({ productType }) => productType === APPLICATION);
  }

  /** The target itself, and those that it depends on and that are signed, in the order of eas-cli. */
  signedWith(target: XcodeTarget): XcodeTarget[] {
    const seen = new Map<string, XcodeTarget>([[target.id, target]]);
    const follow = (id: string) => {
      for (const dependency of textsIn(this.#object(id), 'dependencies')) {
        const other = this.#targetOf(textIn(this.#object(dependency), 'target') ?? '');
        if (other === null || other.productType === FRAMEWORK || seen.has(other.id) || seen.size >= TARGETS_MAX)
          continue;
        seen.set(other.id, other);
        follow(other.id);
      }
    };
    follow(target.id);
    return [...seen.values()];
  }

  /** Settings of the project lie below those of the target. `configuration`: null for the default one. */
  settings(target: XcodeTarget, configuration: string | null): ReadonlyMap<string, string> {
    const own = this.#settingsIn(textIn(this.#object(target.id), 'buildConfigurationList'), configuration);
    const shared = this.#settingsIn(textIn(this.#object(this.#root ?? ''), 'buildConfigurationList'), configuration);
    return new Map([...shared, ...own]);
  }

  #object(id: string): unknown {
    return fieldOf(this.#objects, id);
  }

  #targetOf(id: string): XcodeTarget | null {
    const object = this.#object(id);
    const name = textIn(object, 'name');
    if (textIn(object, 'isa') !== 'PBXNativeTarget' || name === null) return null;
    return { id, name, productType: textIn(object, 'productType') ?? '' };
  }

  #settingsIn(listId: string | null, configuration: string | null): [string, string][] {
    const list = this.#object(listId ?? '');
    const wanted = configuration ?? textIn(list, 'defaultConfigurationName') ?? 'Release';
    const id = textsIn(list, 'buildConfigurations').find((one) => textIn(this.#object(one), 'name') === wanted);
    const settings = fieldOf(this.#object(id ?? ''), 'buildSettings');
    return Object.entries((settings as object | undefined) ?? {}).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    );
  }
}

const EXPANDED_MAX_CHARACTERS = 1_000;

/**
 * Puts settings in the place of `$(NAME)`. Null if a name is not known, or if the settings lead in a circle.
 */
export function expanded(text: string, settings: ReadonlyMap<string, string>): string | null {
  let result = text;
  for (let round = 0; round < 5 && result.length < EXPANDED_MAX_CHARACTERS; round++) {
    if (!/\$[({]/.test(result)) return result;
    result = result.replaceAll(/\$[({](\w+)[)}]/g, (whole, name: string) => {
      const value = settings.get(name);
      return value === undefined || value.length > EXPANDED_MAX_CHARACTERS ? whole : value;
    });
  }
  return null;
}
