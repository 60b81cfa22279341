"""Slack's official client: a token in a field, one in a form as its older methods have it, and an app's in Basic."""
import os
import sys

from slack_sdk import WebClient

bot, form, app = (os.environ[name] for name in ("SLACK_BOT_TOKEN", "SLACK_USER_TOKEN", "SLACK_CLIENT_SECRET"))
base = f"https://{sys.argv[1]}/api/"


def told(method, said, own):
    print(method, said["digest"], said["token"] == own)


told("chat.postMessage", WebClient(token=bot, base_url=base).chat_postMessage(channel="C1", text=f"not {bot}"), bot)
told("auth.test", WebClient(base_url=base).api_call("auth.test", data={"pretty": "1", "token": form}), form)
access = WebClient(base_url=base).oauth_v2_access(client_id="1.2", client_secret=app, code="code")
told("oauth.v2.access", access, app)
