import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import hcl from 'hcl2-parser';
import { expect, test } from 'vitest';
import { publicImages, STEPS, VM_IMAGE } from './factories/stand-in-mac.ts';

const repository = join(VM_IMAGE, '..');
const inImage = ['*.sh', 'guest/*.sh', 'provision/*.sh', 'send_heartbeat', 'tartbeat-verify'];
const scripts = inImage.flatMap((pattern) => globSync(`vm-image/${pattern}`, { cwd: repository })).sort();
const standIns = globSync('test/vm-image/stand-ins/{*.sh,*/*}', { cwd: repository }).sort();
const read = (path: string) => readFileSync(join(repository, path), 'utf8');
/** The script without comments and texts, because those may name commands that the code must not use. */
const code = (path: string) => read(path).replace(/^\s*#.*$/gm, '');

/** Forms that bash 3.2 does not have or reads in another way, and options that only GNU tools have. */
const FORBIDDEN: Record<string, RegExp> = {
  'associative arrays': /\b(declare|typeset|local)\s+-[a-zA-Z]*A/,
  namerefs: /\b(declare|typeset|local)\s+-[a-zA-Z]*n\b/,
  'mapfile, readarray': /\b(mapfile|readarray)\b/,
  'case-changing expansion': /\$\{[A-Za-z_]+(,|\^)/,
  'other @-expansions': /\$\{[A-Za-z_]+@/,
  '&>> and |&': /&>>|\|&/,
  '&>': /&>[^&0-9]/,
  'printf %(…)T': /%\([^)]*\)T/,
  EPOCHSECONDS: /\bEPOCH(SECONDS|REALTIME)\b/,
  'negative substring offsets': /\$\{[A-Za-z_]+: -/,
  'coproc, wait -n': /\bcoproc\b|\bwait -n\b/,
  // bash 3.2 takes the first `)` of a pattern for the end of the substitution.
  'case inside $( )': /\$\([^()]*\bcase\b/,
  'sed -i, sed -r': /\bsed -[a-z]*[ir]/,
  'grep -P, grep -o with lookaround': /\bgrep -[a-zA-Z]*P/,
  'readlink -f, realpath': /\breadlink -f\b|\brealpath\b/,
  'stat -c, date -d, base64 -w': /\bstat -c\b|\bdate -d\b|\bbase64 -w/,
  'commands that macOS lacks': /(^|[|;&(]\s*)(timeout|setsid|flock|tac|nproc|sha256sum|md5sum|free)\s/m,
  'xargs -r, cp -t, mktemp --': /\bxargs -r\b|\b(cp|mv) -t\b|\bmktemp --/,
  'ps with long options': /\bps (--|aux)/,
};

/** Forms of bash 3.2 that other POSIX shells do not have. */
const OF_BASH: Record<string, RegExp> = {
  '[[ and ((': /\[\[ |^\s*\(\(/m,
  arrays: /\b[a-z_]+=\([^)]|\$\{[A-Za-z_]+\[/,
  'process substitution': /[<>]\([a-z]/,
  'here-strings': /<<</,
  'function keyword': /^\s*function /m,
  source: /^\s*source /m,
  local: /^\s*local /m,
  '$RANDOM, $SECONDS': /\$\{?(RANDOM|SECONDS)\b/,
};

/** These are sourced by a script of bash and never run by themselves. */
const isForBash = (path: string) => read(path).startsWith('# shellcheck shell=bash\n');

test('there is something to check', () => {
  expect(scripts.length).toBeGreaterThan(20);
  expect(standIns.length).toBeGreaterThan(20);
});

test('each says which shell it is for, so that `npm run check:shell` finds it', () => {
  const said = /^(#!.*[/ ](ba)?sh|# shellcheck shell=)/m;
  expect([...scripts, ...standIns].filter((path) => path.endsWith('.sh') && !said.test(read(path)))).toEqual([]);
});

for (const [what, pattern] of Object.entries(FORBIDDEN))
  test(`no script in the image uses ${what}`, () => {
    expect(scripts.filter((path) => pattern.test(code(path)))).toEqual([]);
  });

for (const [what, pattern] of Object.entries(OF_BASH))
  test(`no script in the image that may run in another shell uses ${what}`, () => {
    expect(scripts.filter((path) => !isForBash(path) && pattern.test(code(path)))).toEqual([]);
  });

test('the patterns find what they forbid', () => {
  const samples = [
    'declare -A map',
    'local -n ref',
    'mapfile -t x',
    `\${x,,}`,
    'a &>>log',
    'a |& b',
    "printf '%(%s)T'",
    '$EPOCHSECONDS',
  ];
  for (const sample of samples)
    expect(
      Object.values(FORBIDDEN).some((pattern) => pattern.test(sample)),
      sample,
    ).toBe(true);
});

test('a step is executable, has a number of its own, and says what it is for', () => {
  expect(new Set(STEPS.map((name) => name.slice(0, 2))).size).toBe(STEPS.length);
  for (const name of STEPS) {
    expect(statSync(join(VM_IMAGE, 'provision', name)).mode & 0o111, name).toBe(0o111);
    expect(read(`vm-image/provision/${name}`)).toMatch(/^#!\/bin\/sh\n# \w/);
    expect(read(`vm-image/provision/${name}`)).toMatch(/\nstep "\$@"\n$/);
  }
});

test('versions stand in versions.sh alone, but for that of the engine, which the guest scripts need too', () => {
  const versions = new Map(
    [...read('vm-image/provision/versions.sh').matchAll(/^([A-Z0-9_]+)=(\S+)/gm)].map(([, name, pin]) => [name!, pin!]),
  );
  expect(versions.size).toBeGreaterThan(5);
  const engine = 'vm-image/guest/engine-plugin.sh';
  expect(code(engine)).toContain(` engine_version=${versions.get('EXPO_ENGINE_VERSION')}\n`);
  for (const path of scripts.filter((script) => !script.endsWith('versions.sh') && script !== engine))
    for (const pin of versions.values()) expect(code(path), path).not.toContain(pin);
});

test('public images are named by digest, or have a tag that is resolved once', () => {
  const images = publicImages();
  expect(images.length).toBeGreaterThan(3);
  for (const image of images) {
    expect(image.digest).toMatch(/^(-|sha256:[0-9a-f]{64})$/);
    for (const size of [image.download, image.unpacked, image.disk]) expect(size).toMatch(/^(-|[0-9.]+)$/);
    expect(image.format).toMatch(/^(raw|asif)$/);
    expect(`${image.macos} ${image.host} ${image.tart}`).toMatch(/^[0-9.]+ [0-9.]+ \d+\.\d+\.\d+$/);
  }
  expect(images[0]).toMatchObject({ digest: expect.stringContaining('sha256:'), xcode: expect.stringContaining('.') });
});

test('the Packer template is HCL, uses the tart-cli builder, and names only scripts that exist', () => {
  const [template, error] = hcl.parseToObject(read('vm-image/tartbeat.pkr.hcl'));
  expect(error).toBeFalsy();
  expect(template.packer[0].required_plugins[0].tart).toEqual({
    source: 'github.com/cirruslabs/tart',
    version: '>= 1.16.0',
  });
  expect(Object.keys(template.source)).toEqual(['tart-cli']);
  const [builder] = template.source['tart-cli'].tartbeat;
  expect(builder.headless).toBe(true);
  expect(template.build[0].sources).toEqual(['source.tart-cli.tartbeat']);

  expect(template.variable.vm_base_name[0].default).toBe(publicImages()[0]!.reference);

  const text = JSON.stringify(template);
  const variables = [...text.matchAll(/\bvar\.([a-z_]+)/g)].map(([, name]) => name!);
  expect([...new Set(variables)].sort()).toEqual(Object.keys(template.variable).sort());
  const named = [...text.matchAll(/([\w-]+\.sh)\b/g)].map(([, name]) => name!);
  expect([...new Set(named)].sort()).toEqual(['create-base-image.sh', 'provision.sh']);
  for (const name of named) expect(scripts).toContain(`vm-image/${name}`);
});
