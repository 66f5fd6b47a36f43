#!/bin/sh
# A build in small: compiles each screen, bundles them, writes a manifest. Needs nothing but a POSIX shell.
# SAMPLE_PAUSE_SECONDS is how long each piece of work takes, default 1.
set -eu
LC_ALL=C
export LC_ALL

pause=${SAMPLE_PAUSE_SECONDS:-1}
told() { # PERCENT PHASE: to the monitor, where there is one
  if command -v send_heartbeat >/dev/null 2>&1; then send_heartbeat "$1" "$2"; fi
}

echo "[1/4] Checking the project"
screens=$(cd src && ls -- *.txt)
[ -n "$screens" ]
rm -rf dist && mkdir -p dist/screens
told 10 "Checking"
sleep "$pause"

echo "[2/4] Compiling $(echo "$screens" | wc -l | tr -d ' ') screens"
done=0
for screen in $screens; do
  name=${screen%.txt}
  echo "      $name"
  sed 's/^/  /' "src/$screen" >"dist/screens/$name.out"
  done=$((done + 1))
  told $((10 + done * 15)) "Compiling screen $name"
  sleep "$pause"
done

echo "[3/4] Bundling"
told 80 "Bundling"
{
  echo "tartbeat sample bundle 1"
  for screen in $screens; do
    echo "screen ${screen%.txt}"
    cat "dist/screens/${screen%.txt}.out"
  done
  echo "end"
} >dist/app.bundle
sleep "$pause"

echo "[4/4] Writing the manifest"
told 95 "Writing the manifest"
echo "app.bundle $(wc -c <dist/app.bundle | tr -d ' ') bytes" >dist/manifest.txt
sleep "$pause"
cat dist/manifest.txt
