/** Finds targets and their settings in an Xcode project that has been read. Pure. */
import { fieldOf, textIn, textsIn } from './xcode-files.ts';

const FRAMEWORK = 'com.apple.product-type.framework';
/** More targets than this are not followed. */
const TARGETS_MAX = 100;
/** The limit for one configuration. Xcode itself knows some hundred. */
const SETTINGS_MAX = 2_000;
const CONFIGURATIONS_MAX = 200;

interface XcodeTarget {
  id: string;
  name: string;
  productType: string;
}

export class XcodeProject {
  readonly #objects: unknown;
  readonly #root: string | null;

  /** `value`: the result of `readXcodeProject`. */
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

  /** The target itself, and the signed targets that it depends on, in the order of eas-cli. */
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

  /**
   * Settings of the project override Xcode's own, and those of the target override both. Settings in an
   * .xcconfig are not known. `configuration`: null for the default one.
   */
  settings(target: XcodeTarget, configuration: string | null): ReadonlyMap<string, string> {
    const own = this.#settingsIn(textIn(this.#object(target.id), 'buildConfigurationList'), configuration);
    const shared = this.#settingsIn(textIn(this.#object(this.#root ?? ''), 'buildConfigurationList'), configuration);
    return new Map([
      ['TARGET_NAME', target.name],
      ['TARGETNAME', target.name],
      ['PRODUCT_NAME', '$(TARGET_NAME)'],
      ...(configuration === null ? [] : [['CONFIGURATION', configuration] as const]),
      ...shared,
      ...own,
    ]);
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
    const id = textsIn(list, 'buildConfigurations')
      .slice(0, CONFIGURATIONS_MAX)
      .find((one) => textIn(this.#object(one), 'name') === wanted);
    const settings = (fieldOf(this.#object(id ?? ''), 'buildSettings') as object | undefined) ?? {};
    const entries: [string, string][] = [];
    for (const name in settings) {
      if (entries.length >= SETTINGS_MAX) break;
      const value = textIn(settings, name);
      if (value !== null) entries.push([name, value]);
    }
    return entries;
  }
}

const EXPANDED_MAX_CHARACTERS = 1_000;

/** The changes that Xcode can make to a value, such as `$(PRODUCT_NAME:rfc1034identifier)`. */
const CHANGES: Readonly<Record<string, (value: string) => string>> = {
  rfc1034identifier: (value) => value.replaceAll(/[^A-Za-z0-9.-]/g, '-'),
  c99extidentifier: (value) => value.replaceAll(/\W/g, '_'),
  lower: (value) => value.toLowerCase(),
  upper: (value) => value.toUpperCase(),
};

/** Replaces each `$(NAME)` by its setting. Null if a name is not known, or if the settings form a circle. */
export function expanded(text: string, settings: ReadonlyMap<string, string>): string | null {
  let result = text;
  for (let round = 0; round < 5 && result.length < EXPANDED_MAX_CHARACTERS; round++) {
    if (!/\$[({]/.test(result)) return result;
    result = result.replaceAll(/\$[({](\w+)(?::(\w+))?[)}]/g, (whole, name: string, change?: string) => {
      const value = settings.get(name);
      if (value === undefined || value.length > EXPANDED_MAX_CHARACTERS) return whole;
      if (change === undefined) return value;
      // A value with further names in it is changed in a later round, when they are replaced.
      const [inner] = /\$[({]\w+[)}]/.exec(value) ?? [];
      if (inner === value) return `$(${value.slice(2, -1)}:${change})`;
      return inner !== undefined || !Object.hasOwn(CHANGES, change) ? whole : CHANGES[change]!(value);
    });
  }
  return null;
}
