#!/bin/sh
# Starts Alertmanager with a copy of its configuration, in memory, into which this machine's settings are put:
#   TELEGRAM_TOKEN_FILE  the bot's token, in a file that others cannot read (/run/secrets/telegram_token)
#   TELEGRAM_CHAT_ID     the chat that is told
#   WATCHDOG_URL         where Watchdog goes every five minutes; empty: nowhere
#   ALERTMANAGER, WORK   the program, and the folder of the copy
# Arguments are Alertmanager's own. What cannot work is refused here, in words.
set -eu
umask 077 # the copy may hold the token
source=$(dirname "$0")
token=${TELEGRAM_TOKEN_FILE:-/run/secrets/telegram_token}
alertmanager=${ALERTMANAGER:-/bin/alertmanager}
work=${WORK:-/tmp/alertmanager}
config=$work/alertmanager.yml

say() { echo "alertmanager: $1" >&2; }
refuse() { say "$1"; exit 1; }
edit() { sed "$1" "$config" > "$config.new" && mv "$config.new" "$config"; }
quoted() { printf %s "$1" | sed 's/[&|\\]/\\&/g'; } # for the right side of sed's s

mkdir -p "$work"
cat "$source/alertmanager.yml" > "$config"
cat "$source/telegram.tmpl" > "$work/telegram.tmpl"

secret=$(tr -d '[:space:]' < "$token" 2> /dev/null || true)
case $secret in
  '' | 0000000000:*)
    say "no bot's token: alerts are shown here and sent nowhere. TELEGRAM_TOKEN_FILE is to name a file with the token that @BotFather gave you"
    edit '/^receivers:/,/^inhibit_rules:/{/^    telegram_configs:/d;/^      /d;}'
    ;;
  *[!0-9A-Za-z_:-]* | :* | *: | *:*:*) refuse "TELEGRAM_TOKEN_FILE holds no bot's token: digits, a colon, letters" ;;
  *:*)
    case $(ls -lL "$token") in
      ???????r*) refuse "TELEGRAM_TOKEN_FILE can be read by everybody: chown 65534 and chmod 400 that file" ;;
    esac
    case ${TELEGRAM_CHAT_ID:--1000000000000} in
      -1000000000000) refuse "TELEGRAM_CHAT_ID is missing: a whole number, docs/slo.md says where it is shown" ;;
      *[!0-9-]* | ?*-*) refuse "TELEGRAM_CHAT_ID=$TELEGRAM_CHAT_ID is no whole number" ;;
    esac
    edit "s|chat_id: [-0-9]*|chat_id: $TELEGRAM_CHAT_ID|"
    case $("$alertmanager" --version 2>&1) in
      *'version 0.'[0-9].* | *'version 0.1'[0-9].* | *'version 0.2'[0-5].*) # know no bot_token_file
        edit "s|bot_token_file: .*|bot_token: \"$secret\"|" ;;
      *) edit "s|bot_token_file: .*|bot_token_file: $(quoted "$token")|" ;;
    esac
    ;;
  *) refuse "TELEGRAM_TOKEN_FILE holds no bot's token: digits, a colon, letters" ;;
esac

if [ -n "${WATCHDOG_URL:-}" ]; then
  edit "s|^  - name: watchdog.*|&\n    webhook_configs: [{url: \"$(quoted "$WATCHDOG_URL")\", send_resolved: false}]|"
else
  say "no WATCHDOG_URL: nobody notices if alerts no longer arrive"
fi
exec "$alertmanager" --config.file="$config" "$@"
