#!/bin/sh
# Stands in for every program that only macOS or an Android SDK has. It is linked under the name of each.
#
# $STAND_INS is the folder of one test:
#   calls       one line for each call: NAME ARGUMENTS
#   began/STEP  this step has begun
#   fail/STEP   the step fails
#   hang/STEP   the step does not end by itself, and neither does a child of it in a session of its own
# The steps are the calls of `step` below. The project's own scripts call `step NAME` as a program.
name=${0##*/}
printf '%s' "$name" >>"$STAND_INS/calls"
for word; do printf ' %s' "$word" >>"$STAND_INS/calls"; done
echo >>"$STAND_INS/calls"

step() { # STEP WHAT-IT-SAYS-WHEN-IT-FAILS
  : >"$STAND_INS/began/$1"
  if [ -e "$STAND_INS/hang/$1" ]; then
    # A shell that ignores TERM, as some tools do, with a daemon that has left the process group.
    setsid sh -c 'while :; do sleep 1; done' &
    trap '' TERM
    while :; do sleep 1; done
  fi
  [ ! -e "$STAND_INS/fail/$1" ] || { printf '%s\n' "$2" && exit 1; }
}

# Keeps the JavaScript that the engine has bundled for the native build. Prebuild leaves an index.js of its
# template there too, which is small.
keep_bundle() {
  find "$TMPDIR" -maxdepth 2 \( -name main.jsbundle -o -name index.js \) -size +100k -exec cp {} "$STAND_INS/bundle" \;
}

value_of() { # KEY ARGUMENTS…: what stands after KEY: in one of them
  key=$1
  shift
  for word; do case $word in "$key":*) printf '%s' "${word#*:}" ;; esac; done
}

case "$name ${1-} ${2-}" in
  'step pre-install '*)
    step "$1" "the step $1 failed"
    # The phase that reads package.json comes next.
    [ ! -e "$STAND_INS/fail/package-json" ] || echo '{' >package.json
    ;;
  'step '*) step "$1" "the step $1 failed" ;;
  tar*)
    case " $* " in *' --strip-components '*) step unpack 'tar: Error is not recoverable: exiting now' ;; esac
    exec /usr/bin/env PATH=/usr/bin:/bin tar "$@"
    ;;
  'fastlane --version '*) echo 'fastlane 2.239.0' ;;
  'fastlane run create_keychain')
    step create-keychain 'could not create the keychain'
    : >"$(value_of path "$@")"
    ;;
  'fastlane run import_certificate')
    step import-certificate 'security: SecKeychainItemImport: MAC verification failed during PKCS12 import (wrong password?)'
    # The real one opens the file too, so a wrong one fails here.
    P=$(value_of certificate_password "$@") openssl pkcs12 -in "$(value_of certificate_path "$@")" -passin env:P -nokeys -legacy >/dev/null ||
      P=$(value_of certificate_password "$@") openssl pkcs12 -in "$(value_of certificate_path "$@")" -passin env:P -nokeys >/dev/null
    ;;
  'fastlane run delete_keychain')
    step delete-keychain 'could not delete the keychain'
    rm -f "$(value_of keychain_path "$@")"
    ;;
  'fastlane gym '*)
    cp Gymfile "$STAND_INS/Gymfile"
    logs=$(sed -n 's/^buildlog_path("\(.*\)")/\1/p' Gymfile)
    bundle=$(sed -n 's/^result_bundle_path("\(.*\)")/\1/p' Gymfile)
    mkdir -p "$logs" "$bundle"
    printf 'Command line invocation: xcodebuild\n    export SOME_TOKEN=%s\n' "${SOME_TOKEN-}" >"$logs/Tiny-Tiny.log"
    echo result >"$bundle/Info.plist"
    [ ! -e "$STAND_INS/fail/gym" ] || echo '/x/AppDelegate.swift:3:1: error: cannot find type' >>"$logs/Tiny-Tiny.log"
    step gym '[!] Error building the application - see the log above'
    keep_bundle
    symbols=build/Build/Products/Release-iphoneos/Tiny.app.dSYM
    case $(cat Gymfile) in
      *Simulator*)
        symbols=build/Build/Products/Release-iphonesimulator/Tiny.app.dSYM
        app=build/Build/Products/Release-iphonesimulator/Tiny.app
        mkdir -p $app
        cp "$STAND_INS/app" $app/Tiny
        ;;
      *)
        mkdir -p build
        cp "$STAND_INS/app" build/Tiny.ipa
        ;;
    esac
    mkdir -p $symbols
    echo symbols >$symbols/Info.plist
    echo '{}' >build/main.jsbundle.map
    ;;
  'pod --version '*) echo '1.16.2' ;;
  'pod install '*)
    step pods '[!] CocoaPods could not find compatible versions for pod "Stand-in"'
    mkdir -p Pods
    : >Podfile.lock
    ;;
  'security cms -D')
    for file; do :; done
    step cms 'security: cms: failed to decode message'
    openssl smime -verify -noverify -inform der -in "$file" 2>/dev/null
    ;;
  'security find-identity '*) printf '  1) %s "stand-in"\n     1 valid identities found\n' "$(cat "$STAND_INS/fingerprint")" ;;
  'mise install '*) step tools 'mise: no such version' ;;
  'mise where '*)
    mkdir -p "$STAND_INS/tool/bin"
    printf '#!/bin/sh\necho 9.9.9\n' >"$STAND_INS/tool/bin/pnpm"
    chmod 755 "$STAND_INS/tool/bin/pnpm"
    echo "$STAND_INS/tool"
    ;;
  'java '*)
    step gradle '* What went wrong: the stand-in failed'
    keep_bundle
    mkdir -p app/build/outputs/bundle/release app/build/generated/sourcemaps/react/release
    cp "$STAND_INS/app" app/build/outputs/bundle/release/app-release.aab
    echo '{}' >app/build/generated/sourcemaps/react/release/index.android.bundle.map
    ;;
  *) printf 'the stand-in of %s does nothing for: %s\n' "$name" "$*" >&2 ;;
esac
exit 0
