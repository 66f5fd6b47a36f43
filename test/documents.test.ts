/** Holds the tables of the documents against the code. */
import { readdir, readFile } from 'node:fs/promises';
import { getTableName, is, Table } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { BUILD_STATUSES, CAUSES, type Explained, SUBMISSION_REASONS, VERDICTS } from '#contract';
import { EXIT, EXIT_WORDS } from '../cli/exit-codes.ts';
import { FATES, FIELD_LISTS, type FieldFate } from '../client/project/profile-fields.ts';
import { EVENT_TYPES, TRANSITIONS } from '../controller/builds/transitions.ts';
import { explainCause, explainVerdict } from '../controller/builds/verdicts.ts';
import * as schema from '../controller/schema/index.ts';
import { explainReason } from '../controller/stores/reasons.ts';
import { wrapped } from '../local/prose.ts';
import { IMAGES_MAX } from '../worker-agent/config.ts';
import { CACHES_GB, planDisk, vmsFor } from '../worker-agent/images/disk-plan.ts';
import { readPublicImages } from '../worker-agent/images/public-images.ts';

const read = (name: string) => readFile(new URL(`../${name}`, import.meta.url), 'utf8');

test('the table of states in ARCHITECTURE.md is the one in the code', async () => {
  const rows = BUILD_STATUSES.map((status) => {
    const cells = EVENT_TYPES.map((type) => (TRANSITIONS[status] as Record<string, string>)[type] ?? '');
    return `| ${[status, ...cells].join(' | ')} |`.replaceAll(/ {2,}/g, ' ');
  });
  const head = [`| status | ${EVENT_TYPES.join(' | ')} |`, `|${'---|'.repeat(EVENT_TYPES.length + 1)}`];
  const table = /<!-- transitions -->\n([\s\S]*?)\n<!-- \/transitions -->/.exec(await read('ARCHITECTURE.md'))?.[1];
  expect(table?.split('\n')).toEqual([...head, ...rows]);
});

test('so is the picture of them, without the self-loops', async () => {
  const arrows = BUILD_STATUSES.flatMap((from) =>
    EVENT_TYPES.flatMap((type) => {
      const to = (TRANSITIONS[from] as Record<string, string>)[type];
      return to && to !== from ? [`  ${from} --> ${to}: ${type}`] : [];
    }),
  );
  const picture = /```mermaid\nstateDiagram-v2\n([\s\S]*?)\n```/.exec(await read('ARCHITECTURE.md'))?.[1];
  expect(picture?.split('\n')).toEqual(['  [*] --> queued', ...arrows]);
});

test('ARCHITECTURE.md says of every table and every Durable Object what it is for', async () => {
  const text = await read('ARCHITECTURE.md');
  const stored = /## What is stored\n([\s\S]*?)\n## /.exec(text)?.[1];
  const tables = Object.values(schema).flatMap((table) => (is(table, Table) ? [getTableName(table)] : []));
  expect(tables.length).toBeGreaterThan(8);
  const objects = [...(await read('wrangler.toml')).matchAll(/class_name = "(\w+)"/g)].map(([, name]) => name!);
  for (const name of [...tables, ...objects]) expect(stored).toContain(`\`${name}\``);
});

test('ARCHITECTURE.md has one line for every folder of the code, and no folder is crowded', async () => {
  const map = /## The folders\n([\s\S]*?)\n## /.exec(await read('ARCHITECTURE.md'))?.[1] ?? '';
  const described = [...map.matchAll(/^\| (_?)`([\w/-]+)\/`_? \|/gm)].map(([, reserved, folder]) => ({
    folder: folder!,
    isReserved: reserved === '_',
  }));
  const top = [
    'bench',
    'docs',
    'local',
    'cli',
    'worker-agent',
    'client',
    'log-reader',
    'controller',
    'vm-image',
    'migrations',
  ];
  const root = new URL('..', import.meta.url);
  const folders = new Map<string, number>([['test', 0]]);
  for (const name of top) {
    const entries = await readdir(new URL(name, root), { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of entries.filter((one) => one.isFile())) {
      const folder = entry.parentPath.slice(root.pathname.length);
      folders.set(folder, (folders.get(folder) ?? 0) + 1);
    }
  }
  const isCode = (folder: string) =>
    !/^(migrations|local\/sample-project|vm-image\/fastlane)\//.test(`${folder}/`.replace(/^migrations\/$/, ''));
  const present = [...folders.keys()].filter(isCode).sort();
  expect(
    described
      .filter((one) => !one.isReserved)
      .map((one) => one.folder)
      .filter(isCode)
      .sort(),
  ).toEqual(present);
  // A list of alike things may be longer: steps of provisioning, guest scripts, commands of macOS, pages.
  const crowded = [...folders].filter(
    ([folder, files]) => files > 16 && !/provision$|vm-image\/guest$|facade$|migrations|^docs$/.test(folder),
  );
  expect(crowded).toEqual([]);
  // The deepest folder that is allowed is a room in a room of a top-level folder.
  expect([...folders.keys()].filter((folder) => folder.split('/').length > 3 && isCode(folder))).toEqual([]);
});

test('docs/verdicts.md has every verdict and cause in the words of the code (`npx vitest run test/documents.test.ts -u` writes it)', async () => {
  const paragraph = ({ code, title, explanation, advice }: Explained, whose = '') =>
    `### \`${code}\`: ${title}\n\n${wrapped(`${explanation}${whose}`)}\n\n${wrapped(`**What to do.** ${advice}`)}\n`;
  const verdicts = VERDICTS.map((verdict) => {
    const view = explainVerdict(verdict, null, null);
    return paragraph(
      view,
      view.whose === 'user'
        ? ' The controller does not retry the build.'
        : ' The controller retries the build if the build allows another attempt.',
    );
  });
  const causes = CAUSES.map((cause) => paragraph(explainCause(cause)));
  const page = `# Verdicts and causes

A verdict says how an attempt ended, and never changes. A cause says why, as far as the evidence shows, and
may be added later. Both lists are closed. A verdict is either the user's (the build itself failed) or the
infrastructure's (a Mac, a VM or a network failed). The controller retries a build only if its verdict is the
infrastructure's. [reliability.md](reliability.md) says how often the verdicts are right, and how late they
come.

With \`build_failed\`, the agent looks at the end of the log. If the log ends in an error that the agent
knows, the verdict says why the build failed and what to do (\`explained\`). If the agent knows nothing of the
error, the verdict shows up to ten lines of the log that most likely tell the reason (\`tellingLines\`). These
lines are a guess. Secrets are masked in both, as they are in the log.

If Expo's build engine has failed, \`explained\` names its phase: the first one in which the engine itself
reports an error. The sentence in which the engine ends can name another phase, because it still runs the
hooks after a failure. If nothing is known but the phase (\`phase_failed\`), the verdict shows both.

With \`no_output\`, the log did not grow and the VM did not work. The VM works while the processes of the
build's account use more CPU than before the command began, by at least a hundredth of a core, or while the
network moves more bytes than before, by at least 16 KiB a second. That time does not count: an upload, a
quiet \`xcodebuild\` or a test may take as long as buildTimeout allows. The agent looks at the processes after
the verdict. The build's message then lists up to five processes that waited, first those that wait for no
process of their own. The evidence of the attempt has up to ten. Secrets are masked in them. If a secret has
characters other than printable ASCII, or a backslash, only the names of the programs are listed, because \`ps\`
of macOS shows such characters in another form.

## Verdicts

${verdicts.join('\n')}
## Causes

${causes.join('\n')}`;
  await expect(page).toMatchFileSnapshot('../docs/verdicts.md');
});

test('docs/expo.md has every field of eas.json and its fate (`npx vitest run test/documents.test.ts -u` writes it)', async () => {
  const row = (names: string[], { fate, says, but }: FieldFate) =>
    `| ${names.map((name) => `\`${name}\``).join(', ')} | ${fate} | ${says}${but ? ` ${but}` : ''} |`;
  const parts = FIELD_LISTS.map(({ where, fields }) => {
    // Fields of the same fate, for the same reason, share a row.
    const rows = Map.groupBy(Object.entries(fields), ([, field]) => JSON.stringify(field)).values();
    const table = [...rows].map((alike) =>
      row(
        alike.map(([name]) => name),
        alike[0]![1],
      ),
    );
    const title = where === '' ? 'The file itself' : `\`${where}\``;
    return `### ${title}\n\n| field | fate | what a build makes of it |\n|---|---|---|\n${table.join('\n')}\n`;
  });
  const fates = Object.entries(FATES).map(([fate, says]) => `- **${fate}**: ${says}`);
  const section = `${fates.join('\n')}\n\nA field that is not in this list changes nothing. The log names it.\n\n${parts.join('\n')}`;
  const page = await read('docs/expo.md');
  const renewed = page.replace(
    /(<!-- fates -->\n)[\s\S]*?(<!-- \/fates -->)/,
    (_, from: string, to: string) => `${from}\n${section}\n${to}`,
  );
  expect(renewed).toContain('### `build.PROFILE.ios`');
  await expect(renewed).toMatchFileSnapshot('../docs/expo.md');
});

test('docs/stores.md has every reason for which a submission fails (`-u` writes it)', async () => {
  const rows = SUBMISSION_REASONS.map((code) => {
    const { title, explanation, advice } = explainReason(code, null);
    return `| \`${code}\` | ${title}. ${explanation} | ${advice} |`;
  });
  const table = `| reason | what it means | what to do |\n|---|---|---|\n${rows.join('\n')}`;
  const page = await read('docs/stores.md');
  const renewed = page.replace(
    /(<!-- reasons -->\n)[\s\S]*?(<!-- \/reasons -->)/,
    (_, from: string, to: string) => `${from}\n${table}\n\n${to}`,
  );
  expect(renewed).toContain('| `key_gone` |');
  await expect(renewed).toMatchFileSnapshot('../docs/stores.md');
});

/** macOS, its updates and a few applications. docs/images.md says so. */
const MACOS_GB = 45;

test('docs/images.md says what fits on which Mac (`npx vitest run test/documents.test.ts -u` writes it)', async () => {
  const [{ size }] = readPublicImages() as [ReturnType<typeof readPublicImages>[number]];
  const rows = [256, 512, 1000].flatMap((diskGb) =>
    [16, 24, 32].map((memoryGb) => {
      const vms = vmsFor(memoryGb, 8);
      const freeGb = diskGb - MACOS_GB;
      const planOf = (count: number) =>
        planDisk({
          ...{ freeGb, slots: vms, growthGb: 15 },
          images: Array.from({ length: count }, () => ({ name: '', size, present: 'nothing' as const })),
        });
      const most = (holds: (of: ReturnType<typeof planDisk>) => boolean) =>
        Array.from({ length: IMAGES_MAX }, (_, index) => index + 1)
          .filter((count) => holds(planOf(count)))
          .at(-1) ?? 0;
      const inFull = most(({ fits, plan }) => fits && plan.keepPulled && plan.keepPrevious);
      const atMost = most(({ fits, plan }) => fits && plan.slots === vms);
      const { plan } = planOf(1);
      const caches = Math.floor(freeGb - plan.needGb + CACHES_GB);
      const kept = [plan.keepPulled && 'pulled copy', plan.keepPrevious && 'previous image'].filter(Boolean);
      const cells = [
        ...[`${diskGb} GB`, `${memoryGb} GB`, `${vms} of ${Math.floor((memoryGb - 4) / vms)} GB`],
        vms > 1 ? '1 beside a build' : '1 between builds',
        ...[inFull, atMost, kept.join(', ') || 'nothing', `${caches} GB`],
      ];
      return `| ${cells.join(' | ')} |`;
    }),
  );
  const head =
    '| disk | memory | slots | warm VMs | images with all that is kept | images at most | kept of one image | caches beside one image |';
  const key = `
- \`2 of 10 GB\`: two builds run at once, and their VMs may have 10 GB of memory each. The rest is for macOS.
- \`1 beside a build\`: a warm VM may run while a build does. \`1 between builds\`: it would have to go before
  a build starts, because the memory holds one VM.
- "Caches beside one image" is what is left for the caches of builds. A config has at most ${IMAGES_MAX} images.`;
  const table = [head, '|---|---|---|---|---|---|---|---|', ...rows, key].join('\n');
  const page = await read('docs/images.md');
  const renewed = page.replace(
    /(<!-- what fits -->\n)[\s\S]*?(<!-- \/what fits -->)/,
    (_, from: string, to: string) => `${from}\n${table}\n\n${to}`,
  );
  expect(renewed).toContain('| 512 GB | 24 GB |');
  await expect(renewed).toMatchFileSnapshot('../docs/images.md');
});

test('docs/expo-build.md has every exit code (`npx vitest run test/documents.test.ts -u` writes it)', async () => {
  const rows = Object.entries(EXIT).map(([name, code]) => `| ${code} | ${EXIT_WORDS[name as keyof typeof EXIT]} |`);
  const table = `| exit code | what it means |\n|---|---|\n${rows.join('\n')}`;
  const page = await read('docs/expo-build.md');
  const renewed = page.replace(
    /(<!-- exit codes -->\n)[\s\S]*?(<!-- \/exit codes -->)/,
    (_, from: string, to: string) => `${from}\n${table}\n\n${to}`,
  );
  expect(renewed).toContain('| 130 |');
  await expect(renewed).toMatchFileSnapshot('../docs/expo-build.md');
});
