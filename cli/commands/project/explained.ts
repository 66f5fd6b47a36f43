/** Writes the explanation of a build as text for people and as lines of JSON. Pure. */
import type { ExplainedField, Explanation, NeededSecret } from '../../../client/plan/explain-build.ts';
import type { SubmitExplanation } from '../../../client/plan/explain-submit.ts';
import { printable } from '../../../client/printable.ts';
import type { CommandBuild } from '../../../client/project/expo-build-json.ts';
import type { JsonLine } from '../../json-lines/json-lines.ts';
import { PLATFORM_NAMES } from '../../words.ts';

export interface Explained {
  platform: 'ios' | 'android';
  root: string;
  appRoot: string;
  /** Null for the command of expo-build.json. */
  profile: string | null;
  command: CommandBuild | null;
  build: Explanation | null;
  submission: (SubmitExplanation & { profile: string }) | null;
  /** About the explanation itself. */
  notes: string[];
}

export function linesOf({ command, build, submission, notes, ...place }: Explained): JsonLine[] {
  const { engine, workflow, app, manager } = build?.project ?? {};
  const fields = (of: 'build' | 'submit', all: readonly ExplainedField[]): JsonLine[] =>
    all.map(({ value, ...field }) => ({ type: 'explained_field', of, ...field, value: jsonOf(value) }));
  const message = (type: 'explained_note' | 'explained_difference', all: readonly string[]): JsonLine[] =>
    all.map((message) => ({ type, message }));
  return [
    {
      type: 'explained_build',
      ...place,
      command: command?.command ?? null,
      refusal: build?.refusal ?? null,
      extends: build?.chain.slice(1) ?? [],
      engine: engine?.engine ?? null,
      because: engine?.because ?? null,
      workflow: workflow ?? null,
      app: app ? { id: app.appId, version: app.version, buildNumber: app.buildNumber, file: app.file } : null,
      manager: manager?.manager ?? null,
      install: build?.plan?.manager.install ?? null,
      number: build?.number ?? null,
    },
    ...fields('build', build?.fields ?? []),
    ...(build?.plan?.tools ?? []).map((tool): JsonLine => ({ type: 'explained_tool', ...tool })),
    ...(command?.artifacts ?? []).map(
      ({ glob, required }): JsonLine => ({ type: 'explained_artifact', glob, required }),
    ),
    ...(build?.secrets ?? []).map((secret): JsonLine => ({ type: 'explained_secret', ...secret })),
    ...message('explained_note', [...notes, ...(build?.notes ?? [])]),
    ...message('explained_difference', build?.differences ?? []),
    ...(submission === null
      ? []
      : [
          {
            type: 'explained_submission' as const,
            profile: submission.profile,
            refusal: submission.refusal,
            options: jsonOf(submission.options),
          },
          ...fields('submit', submission.fields),
          ...message('explained_note', submission.notes),
        ]),
  ];
}

const jsonOf = (value: unknown) => JSON.parse(JSON.stringify(value ?? null));

export function textOf(explained: Explained): string {
  const { platform, appRoot, profile, command, build, submission, notes } = explained;
  const where = appRoot === '.' ? '' : ` of ${appRoot}`;
  const lines: string[] = [];
  if (command !== null)
    lines.push(
      `The command in expo-build.json${where} builds for ${PLATFORM_NAMES[platform]}:`,
      ...command.command.split('\n').map((line) => `  ${line}`),
      ...section(
        'What it brings back',
        command.artifacts.map(({ glob, required }) => `${glob}${required ? '' : ' (if it is there)'}`),
      ),
      '',
      'To explain a profile of eas.json, give --profile.',
    );
  if (build !== null) lines.push(...linesOfBuild(build, `Profile ${profile}${where}`, platform));
  if (submission !== null) lines.push(...linesOfSubmission(submission, platform));
  lines.push(...section('About this explanation', notes));
  return `${lines.map(printable).join('\n')}\n`;
}

function linesOfBuild(build: Explanation, title: string, platform: 'ios' | 'android'): string[] {
  const { refusal, chain, fields, project, plan, number, secrets, notes, differences } = build;
  const { engine, workflow, app, manager } = project;
  const extending = chain.length > 1 ? `, which extends ${chain.slice(1).join(', ')}` : '';
  return [
    `${title}, for ${PLATFORM_NAMES[platform]}${extending}: ${refusal === null ? 'would be built.' : 'would be REFUSED.'}`,
    ...(refusal === null ? [] : [`  ${refusal}`]),
    ...section('How it is built', [
      ...(engine ? [engine.because] : []),
      ...(workflow ? [WORKFLOWS[workflow][platform]] : []),
      ...(app ? [appWords(app)] : []),
      ...(plan
        ? [
            `\`${plan.manager.install}\` runs in ${plan.manager.workspaceRoot === '.' ? 'the root of the source' : plan.manager.workspaceRoot}.`,
          ]
        : manager
          ? [`The package manager is ${manager.manager}.`]
          : []),
      ...(plan?.tools ?? []).map((tool) => `${tool.name} ${tool.version} is installed first.`),
      ...(number === null ? [] : [number]),
    ]),
    ...section('Fields', fields.flatMap(linesOfField)),
    ...section('What it needs beside the source', secrets.map(secretWords)),
    ...section(plan ? 'The log will say' : 'Look at these', notes),
    ...section('Other than EAS', differences),
  ];
}

const WORKFLOWS = {
  managed: {
    ios: 'The project is managed: `expo prebuild` makes the folder ios.',
    android: 'The project is managed: `expo prebuild` makes the folder android.',
  },
  generic: {
    ios: 'The project has an ios folder of its own, which is built as it is.',
    android: 'The project has an android folder of its own, which is built as it is.',
  },
};

function appWords({ appId, version, kind, file }: NonNullable<Explanation['project']['app']>): string {
  if (appId === null)
    return `${file} ${kind === 'dynamic' ? 'is a program, so the VM finds out which app it is.' : 'names no id of the app.'}`;
  return `The app is ${appId}${version === null ? '' : `, version ${version}`}.`;
}

const linesOfField = ({ field, value, path, fate, says }: ExplainedField): string[] => [
  `${fate.padEnd(8)} ${field} = ${shown(value)}  (${path.slice(0, -field.length - 1) || 'cli'})`,
  `         ${says}`,
];

const shown = (value: unknown): string => {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return printable(text.length > 80 ? `${text.slice(0, 79)}…` : text);
};

const SECRET_WORDS: Record<NeededSecret['is'], string> = {
  given: 'here',
  stored: 'stored for the project',
  missing: 'MISSING',
};

const secretWords = ({ name, is, says }: NeededSecret) => `${name}: ${SECRET_WORDS[is]}. ${says}`;

function linesOfSubmission(
  { profile, refusal, fields, options, notes }: NonNullable<Explained['submission']>,
  platform: 'ios' | 'android',
): string[] {
  const store = platform === 'ios' ? 'App Store Connect' : 'Google Play';
  return [
    '',
    `Submit profile ${profile}, for ${store}: ${refusal === null ? `is asked for ${JSON.stringify(options)}` : 'would be REFUSED.'}`,
    ...(refusal === null ? [] : [`  ${refusal}`]),
    ...section('Fields of the submit profile', fields.flatMap(linesOfField)),
    ...section('Ignored', notes),
  ];
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ['', `${title}:`, ...lines.map((line) => `  ${line}`)];
