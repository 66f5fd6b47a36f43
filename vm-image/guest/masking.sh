# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154 # programs for node are in quotes; expo.sh sets the variables
# Has the functions that keep secrets out of the engine's output and out of Xcode's logs. expo.sh and the
# starter of the engine for eas-cli source this file; it does nothing by itself.
#
# The agent masks what the build was given, from 8 bytes on. It does not know what Expo keeps. And the engine
# prints the password of a certificate that cannot be imported, however short it is.

# Texts are compared as bytes. Xcode prints a value with a backslash before each special character. A password
# of fewer than 8 bytes may be a usual word, so it is found only where it stands alone.
readonly mask_program='
  const { readFileSync, writeFileSync, writeSync } = require("node:fs");
  const special = /[^A-Za-z0-9_.\/:@%+,-]/gu;
  const formsOf = (text) => [
    text, JSON.stringify(text).slice(1, -1), text.replace(/[\\\u0027]/g, "\\$&"), text.replace(special, "\\$&"),
    text.replace(/[^A-Za-z0-9_.\/:@%+,\x80-\u{10ffff}-]/gu, "\\$&"),
  ];
  const inBytes = (text) => Buffer.from(text).toString("latin1");
  const escaped = (text) => text.replace(/\W/g, (one) => `\\x${one.charCodeAt(0).toString(16).padStart(2, "0")}`);
  const formsOfAll = (texts) =>
    [...new Set(texts.flatMap(formsOf).map(inBytes))].sort((a, b) => b.length - a.length);
  const patternOf = (forms) => new RegExp(forms.length === 0 ? "(?!)" : forms.map((one) =>
    one.length < 8 ? `(?<![\\w./-])${escaped(one)}(?![\\w/-]|\\.\\w)` : escaped(one)).join("|"), "g");
  const textsIn = (one, name = "") => {
    if (typeof one === "string") return [[name, one]];
    return one && typeof one === "object" ? Object.entries(one).flatMap(([key, value]) => textsIn(value, key)) : [];
  };
  const passwordsIn = (secrets) => textsIn(secrets?.buildCredentials)
    .filter(([name, text]) => /password/i.test(name) && text.length >= 4).map(([, text]) => text);
  const longLines = (texts) => texts.flatMap((text) => text.split("\n")).filter((line) => line.length >= 8);
'

# Copies its input, without the passwords of the credentials, up to the mark. The mark ends it, because a
# daemon that the build has started may keep the pipe open. A line that has no end yet is printed after half a
# second, so that a tool that prints dots is seen to work. TERM does not end it, because the engine still
# prints then.
print_masked() { # INPUT MARK
  NODE_OPTIONS='' "$node" -e "$mask_program"'
    const [mark, input] = readFileSync(3, "utf8").split("\n");
    const { secrets } = JSON.parse(Buffer.from(input, "base64").toString("utf8")).job;
    const forms = formsOfAll(passwordsIn(secrets));
    const pattern = patternOf(forms);
    let held = "";
    let timer = null;
    const write = (text) => {
      const bytes = Buffer.from(text, "latin1");
      for (let at = 0; at < bytes.length; ) {
        try { at += writeSync(1, bytes, at); } catch (error) { if (error.code !== "EAGAIN") throw error; }
      }
    };
    // The beginning of a secret, or of the mark, waits for the rest.
    const print = (end) => {
      const text = held.slice(0, end).replace(pattern, "***");
      let kept = 0;
      for (const one of [mark, ...forms])
        for (let length = Math.min(one.length - 1, text.length); length > kept; length--)
          if (text.endsWith(one.slice(0, length))) kept = length;
      write(text.slice(0, text.length - kept));
      held = text.slice(text.length - kept) + held.slice(end);
    };
    const finish = () => {
      write(held.replace(pattern, "***"));
      process.exit(0);
    };
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => {});
    process.stdin.setEncoding("latin1");
    process.stdin.on("data", (chunk) => {
      held += chunk;
      const at = held.indexOf(mark);
      if (at >= 0) {
        held = held.slice(0, at);
        finish();
      }
      print(held.lastIndexOf("\n") + 1);
      if (held !== "" && timer === null)
        timer = setTimeout(() => {
          timer = null;
          print(held.length);
        }, 500);
    });
    process.stdin.on("end", finish);
  ' 3< <(printf '%s\n%s' "$2" "$1")
}

# Runs a command, prints what it prints without the passwords of the engine's input, and returns with its exit
# code.
run_masked() { # INPUT COMMAND …
  local input=$1 mark
  mark=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  shift
  (
    "$@"
    code=$?
    printf '%s\n' "$mark"
    exit "$code"
  ) 2>&1 | print_masked "$input" "$mark"
  return "${PIPESTATUS[0]}"
}

# The job that eas-cli makes has all that Expo has sent. A value that eas.json has too is no secret.
keep_texts_of_expo() { # INPUT
  (
    umask 077
    printf '%s' "$1" | NODE_OPTIONS='' "$node" -e "$mask_program"'
      const { job } = JSON.parse(Buffer.from(readFileSync(0, "utf8"), "base64").toString("utf8"));
      let easJson = "";
      try { easJson = readFileSync(process.argv[1], "utf8"); } catch {}
      const isKnown = (text) => easJson.includes(JSON.stringify(text).slice(1, -1));
      const sent = textsIn(job.builderEnvironment?.env).map(([, text]) => text).filter((text) => !isKnown(text));
      const secret = textsIn(job.secrets)
        .filter(([name]) => name !== "type" && name !== "name").map(([, text]) => text);
      const kept = { texts: [...sent, ...secret], passwords: passwordsIn(job.secrets) };
      writeFileSync(process.argv[2], JSON.stringify(kept), { mode: 0o600 });
    ' "$state/source/$app_root/eas.json" "$engine_tmp/texts-of-expo.json"
  )
}

# Takes the values of secrets out of text files, because Xcode prints the environment. The plugin engine's are
# in the job. Those of eas are lines of shell in secret_env, and what Expo has sent is in a file.
mask_files() { # FILE…
  local node=$root/opt/homebrew/bin/node text=$job
  [ -x "$node" ] || node=node
  [ -n "$text" ] || text='{}'
  (
    eval "${secret_env-}"
    export masked_names
    masked_names=$(printf '%s\n' "${secret_env-}" | LC_ALL=C sed -n 's/^export \([A-Za-z_][A-Za-z_0-9]*\)=.*/\1/p')
    printf '%s' "$text" | NODE_OPTIONS='' "$node" -e "$mask_program"'
      const { secrets = {} } = JSON.parse(readFileSync(0, "utf8")).job ?? {};
      const [ofExpo, ...files] = process.argv.slice(1);
      const values = process.env.masked_names.split("\n").map((name) => process.env[name] ?? "");
      values.push(...(secrets.environmentSecrets ?? []).map(({ value }) => value));
      values.push(...textsIn(secrets.buildCredentials).map(([, text]) => text));
      let kept = { texts: [], passwords: [] };
      try {
        kept = JSON.parse(readFileSync(ofExpo, "utf8"));
      } catch (error) { if (error.code !== "ENOENT") throw error; }
      const passwords = [...passwordsIn(secrets), ...kept.passwords];
      const pattern = patternOf(formsOfAll([...longLines([...values, ...kept.texts]), ...passwords]));
      for (const file of files)
        writeFileSync(file, readFileSync(file, "latin1").replace(pattern, "***"), "latin1");
    ' "$engine_tmp/texts-of-expo.json" "$@"
  )
}
