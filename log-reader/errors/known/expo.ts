import type { KnownError } from './known-error.ts';

/** Expo, EAS, Metro. */
export const EXPO: readonly KnownError[] = [
  {
    id: 'expo_login',
    pattern:
      /^(?:Error: )?(?:An Expo user account is required to proceed|Either log in with eas login or set the EXPO_TOKEN)/,
    sentence: 'EAS needs an Expo account, also for local builds.',
    advice: 'Make an access token at expo.dev and pass it to the build as EXPO_TOKEN.',
  },
  {
    id: 'expo_token_invalid',
    pattern: /(?:^|: )(?:The bearer token is invalid|Request failed: 401 \(Unauthorized\))/,
    sentence: 'Expo refused the token of the build.',
    advice: 'Make a new access token at expo.dev and replace EXPO_TOKEN.',
  },
  {
    id: 'eas_not_configured',
    pattern:
      /^EAS project not configured|^Must configure EAS project by running 'eas init'|Invalid UUID appId|Experience with id '[^']+' does not exist/,
    // eas-cli prints up to ten lines of advice below it.
    atEnd: true,
    sentence: 'The project is not linked to a project of EAS.',
    advice: 'Run "eas init" on your machine and commit the projectId that it writes.',
  },
  {
    id: 'eas_not_authorised',
    pattern: /(?:^|: )Entity not authorized: |^You don't have the required permissions to perform this operation\.?$/,
    sentence: 'The Expo token of the build may not use this project.',
    advice: 'Give the user of EXPO_TOKEN access to the account that owns the project, or correct owner and projectId.',
  },
  {
    id: 'eas_project_differs',
    pattern:
      /^Project config: (?:Owner|Slug) (?:of|for) project identified by "extra\.eas\.projectId" \(([^)]*)\) does not match .*?"(owner|slug)" field \(([^)]*)\)/,
    sentence: 'The app config has $2 "$3", but its projectId belongs to a project of Expo with $2 "$1".',
    advice: 'Correct $2 or "extra.eas.projectId" in the app config.',
  },
  {
    id: 'eas_cli_version',
    pattern:
      /^You are on eas-cli@(\S+) which does not satisfy the CLI version constraint defined in eas\.json \(([^)]+)\)/,
    sentence: 'The project asks for eas-cli $2 in eas.json, and the VM has $1.',
    advice: 'Correct "cli.version" in eas.json, or make an image with another version of eas-cli.',
  },
  {
    id: 'eas_job_too_large',
    pattern: /^(?:Error: )?spawn E2BIG$/,
    near: [
      {
        where: 'above',
        within: 40,
        pattern: /^Build context \(for debugging this failed local build\):$/,
        required: true,
      },
    ],
    sentence: 'The job of eas-cli is larger than the system hands over to a program.',
    advice:
      'Make variables, certificates and profiles of the build fewer or shorter, also those that Expo keeps. All count.',
  },
  {
    id: 'eas_no_git',
    pattern:
      /^It looks like you haven't initialized the git repository yet\.|^EAS requires you to use a git repository/,
    sentence: 'The command eas-cli asks for a git repository, and the source of a build has none.',
    advice: 'Submit "profile" instead of a command. In a command set EAS_NO_VCS=1, and EAS_PROJECT_ROOT to the source.',
  },
  {
    id: 'dev_client_missing',
    pattern: /we detected that you don't have expo-dev-client installed/,
    sentence: 'The profile builds a development client, and the package "expo-dev-client" is not installed.',
    advice: 'Run "npx expo install expo-dev-client", or remove "developmentClient" from the profile.',
  },
  {
    id: 'expo_unreachable',
    pattern: /^request to https:\/\/(?:[\w-]+\.)*(?:expo\.dev|exp\.host)\S* failed, reason: (.{1,160})$/,
    sentence: "Expo's servers could not be reached: $1.",
    advice:
      'Build again; if it stays, see status.expo.dev and the network of the VM. Most profiles build without Expo.',
  },
  {
    id: 'eas_profile_missing',
    pattern: /Missing build profile in eas\.json: "?([\w.-]+?)"?(?:\. |\.?$)/,
    sentence: 'There is no build profile "$1" in eas.json.',
    advice: 'Correct the name of the profile in the build, or add it to eas.json.',
  },
  {
    id: 'eas_credentials_missing',
    // Not "Distribution Certificate is not validated for non-interactive builds": every such build prints it.
    pattern:
      /^(?:Error: )?(?:Credentials are not set up\b|credentials\.json does not exist in the project root|.*\bcouldn't find any credentials suitable for internal distribution)/i,
    sentence: 'EAS has no signing credentials that it can use without asking.',
    advice: 'Run "eas credentials" once on your machine, or pass credentials.json as a secret file.',
  },
  {
    id: 'bundle_identifier_missing',
    pattern:
      /Required property '(ios\.bundleIdentifier|android\.package)' is not found in the project app\.json|^(?:Error: )?The "(ios\.bundleIdentifier|android\.package)" is required to be set in app config/,
    sentence: 'The app config lacks $1$2.',
    advice: 'Set it in app.json; it cannot be asked for in a build.',
  },
  {
    id: 'google_services_missing',
    pattern:
      /(?:Cannot copy (google-services\.json)|ENOENT: no such file or directory, copyfile .*(GoogleService-Info\.plist)|File (google-services\.json) is missing)/,
    sentence: 'The file $1$2$3 is not in the source.',
    advice: 'It is often ignored by git: pass it as a secret file, and let the app config name its path.',
  },
  {
    id: 'google_services_broken',
    pattern:
      /withIosInfoPlistBaseMod: (GoogleService-Info\.plist) is empty|Path to (GoogleService-Info\.plist) is not defined|^> (?:Malformed root json|Missing project_info object)$/,
    sentence: 'The file [$1][$2] of Google services is empty, damaged or not named in the app config.',
    advice:
      'Download it anew from the Firebase console, pass it as a secret file, and name its path in the app config.',
  },
  {
    id: 'icon_missing',
    pattern: /^(?:Error: )?\[(?:ios|android)\.dangerous\]: .*ENOENT: no such file or directory, open '([^']+)'/,
    near: [{ where: 'below', within: 16, pattern: /\/with(?:Android|Ios)Icons\.js/, required: true }],
    sentence: 'The icon $1 is not in the source.',
    advice: 'Commit it, or correct its path in the app config. File names are case-sensitive.',
  },
  {
    id: 'config_plugin_missing',
    pattern:
      /^(?:PluginError: )?(?:Failed to resolve plugin for module "([^"]+)"|Package "([^"]+)" does not contain a valid config plugin)/,
    sentence: 'The config plugin of "$1$2" could not be loaded.',
    advice: 'Install the package, or remove it from "plugins" in the app config.',
  },
  {
    id: 'config_plugin_failed',
    pattern: /^\w*Error: \[((?:ios|android)\.\w+)\]: (?:with\w+: )?(.{1,200})/,
    sentence: 'A config plugin failed while it changed $1 of the native project: $2.',
    advice: 'Check the options of the plugin in the app config, and that variables and files that it reads are there.',
  },
  {
    id: 'expo_package_missing',
    pattern:
      /(?:Cannot determine (?:which native SDK version your project uses|the project's Expo SDK version)|The native SDK version .{1,60}) because the module `expo` is not installed/,
    sentence: 'The package "expo" is not installed.',
    advice: 'Add "expo" to the dependencies of the package.json beside the app config.',
  },
  {
    id: 'expo_config_invalid',
    pattern: /^(?:ConfigError|Error reading Expo config|Error: Error reading Expo config)[^:]*: (.{1,200})/,
    sentence: 'The app config could not be read: $1',
    advice: 'Run "npx expo config" on your machine; variables that it reads must be set in the build too.',
  },
  {
    id: 'js_module_unresolved',
    pattern: /^(?:error:? )?(?:Error: )?Unable to resolve (?:module )?["'`]?([^"'` ]+)["'`]? from ["'`]?([^"'`:]+)/,
    sentence: 'The JavaScript bundle imports "$1", which $2 cannot find.',
    advice: 'Install the package or correct the path; file names are case-sensitive on some machines only.',
  },
  {
    id: 'js_syntax',
    pattern: /^(?:error:? )?SyntaxError: (?:SyntaxError: )?(?:([^\s:]+\.[cm]?[jt]sx?): )(.{1,160})/,
    sentence: 'JavaScript could not be parsed in $1: $2',
    advice: 'Correct the file; if it is in node_modules, check the Babel configuration.',
  },
  {
    id: 'node_module_missing',
    pattern: /^(?:Error|error|Error \[\w+\]): Cannot find (?:module|package) '([^']+)'/,
    sentence: 'Node.js cannot find the module "$1".',
    advice: 'Add it to package.json (not only to devDependencies if these are not installed) and install again.',
  },
];
