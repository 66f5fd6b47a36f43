/** Makes an app that tests submit, and reads the answers. */
import type { JsonLine } from '../../../cli/json-lines/json-lines.ts';
import { BuildsClient } from '../../../client/builds-client.ts';
import { Connection } from '../../../client/request.ts';
import { project, type Tree } from '../../client/packing/trees.ts';
import { type SharedController, sharedController } from '../../set-up/controller/shared.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { type Ended, expoBuild, jsonLinesOf } from './expo-build.ts';

const EAS_JSON = JSON.stringify({
  build: { production: { withoutCredentials: true, ios: { simulator: true } }, sim: { ios: { simulator: true } } },
});

/** An app in a repository, an account of its own, and a temporary folder. */
function appToSubmit(controller: SharedController, change: (tree: Tree) => unknown = () => {}) {
  const it = project();
  it.tree.write({ 'package.json': '{"name":"shop"}', 'eas.json': EAS_JSON, 'app.json': '{"expo":{"name":"Shop"}}' });
  change(it.tree);
  it.tree.committed();
  const tmp = temporaryDir();
  const env = (url = controller.url, key = controller.secrets.ADMIN_KEY) => ({
    ...{ EXPO_BUILD_URL: url, EXPO_BUILD_KEY: key, TMPDIR: tmp.path },
  });
  return {
    ...it,
    tmp: tmp.path,
    env,
    run: (args: string[], variables: NodeJS.ProcessEnv = env()) =>
      expoBuild(['submit', ...args], { cwd: it.path, env: { ...env(), ...variables } }),
    [Symbol.dispose]() {
      it[Symbol.dispose]();
      tmp[Symbol.dispose]();
    },
  };
}

export const ofType = <Type extends JsonLine['type']>(ended: Ended, type: Type) =>
  jsonLinesOf(ended).filter((line): line is Extract<JsonLine, { type: Type }> => line.type === type);
/** The ids of the builds that standard output names. */
export const idsIn = ({ stdout }: Ended) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[0]!);
/** Asks the controller as an administrator does. */
const callerOf = (controller: SharedController) => async (method: string, path: string, body?: unknown) => {
  const headers = { authorization: `Bearer ${controller.secrets.ADMIN_KEY}`, 'content-type': 'application/json' };
  const answer = await fetch(`${controller.url}${path}`, { method, headers, body: body ? JSON.stringify(body) : null });
  return (await answer.json()) as Record<string, unknown> & { secret: string; key: { id: string } };
};

/** The shared controller, two ways to ask it as an administrator, and a maker of apps to submit. */
export async function submitting() {
  const controller = await sharedController();
  return {
    controller,
    api: new BuildsClient(new Connection({ url: controller.url, key: controller.secrets.ADMIN_KEY })),
    call: callerOf(controller),
    app: (change?: (tree: Tree) => unknown) => appToSubmit(controller, change),
  };
}
