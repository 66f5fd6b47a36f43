/** The style of the install pages: one column that fits a phone, in light and dark. */
export const STYLE = `
:root { color-scheme: light dark; --text: #1c1c1e; --faint: #55555a; --back: #ffffff; --line: #d1d1d6;
  --action: #0b57d0; --on-action: #ffffff; --warn: #8a1c00; --warn-back: #fff1ec; }
@media (prefers-color-scheme: dark) { :root { --text: #f2f2f7; --faint: #b4b4ba; --back: #161618; --line: #3a3a3f;
  --action: #a8c7fa; --on-action: #062e6f; --warn: #ffb59f; --warn-back: #3b1208; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }
main { max-width: 34rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
header { text-align: center; }
header img { border-radius: 22%; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.button { display: block; padding: .9rem 1rem; border-radius: .7rem; text-align: center; font-weight: 600;
  text-decoration: none; background: var(--action); color: var(--on-action); }
.button:focus-visible { outline: 3px solid var(--text); outline-offset: 2px; }
.warning { padding: .8rem 1rem; border: 1px solid var(--warn); border-radius: .7rem; color: var(--warn);
  background: var(--warn-back); }
dl { margin: 0; }
dl div { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: .45rem 0; border-top: 1px solid var(--line); }
dt { flex: 0 0 11rem; color: var(--faint); }
dd { flex: 1 1 12rem; margin: 0; }
ul { padding-left: 1.2rem; }
pre { padding: .8rem 1rem; border: 1px solid var(--line); border-radius: .7rem; white-space: pre-wrap; }
.qr { width: 13rem; max-width: 100%; margin: 0; padding: .5rem; background: #ffffff; border-radius: .7rem; }
.qr svg { display: block; width: 100%; height: auto; }
`;
