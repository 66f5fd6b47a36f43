/** Calls the control of a stand-in, which runs in another process. */
export const controlOf = <Control extends object>(url: string): Control =>
  new Proxy({} as Control, {
    get:
      (_, call: string) =>
      async (...given: unknown[]) => {
        const answer = await fetch(`${url}/_control`, { method: 'POST', body: JSON.stringify({ call, with: given }) });
        const json = (await answer.json()) as { answer?: unknown; violation?: string };
        if (!answer.ok) throw new Error(json.violation);
        return json.answer;
      },
  });
