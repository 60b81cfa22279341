"""The official clients of OpenAI, Anthropic and AWS, with nothing but the sandbox's variables."""
import os
import sys
import urllib.request

import anthropic
import boto3
import botocore.config
import openai

host = f"https://{sys.argv[1]}"

said = openai.OpenAI(base_url=f"{host}/v1").chat.completions.create(
    model="m", messages=[{"role": "user", "content": f"my key is {os.environ['OPENAI_API_KEY']}"}])
print("openai", said.choices[0].message.content == f"Bearer {os.environ['OPENAI_API_KEY']}")

said = anthropic.Anthropic(base_url=host).messages.create(
    model="m", max_tokens=9, messages=[{"role": "user", "content": "hello"}])
print("anthropic", said.content[0].text.split()[-1] == os.environ["ANTHROPIC_API_KEY"])

config = botocore.config.Config(
    s3={"addressing_style": "path"}, signature_version="s3v4", retries={"max_attempts": 1})
aws = dict(endpoint_url=host, region_name="eu-central-1", config=config)
s3 = boto3.client("s3", **aws)
s3.put_object(Bucket="bucket", Key="key", Body=b"an object" * 1000)
print("s3", s3.get_object(Bucket="bucket", Key="key")["Body"].read().decode())
presigned = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"}, ExpiresIn=60)
print("presigned", urllib.request.urlopen(presigned).read().decode())
plain = botocore.config.Config(retries={"max_attempts": 1})
print("dynamodb", boto3.client("dynamodb", **{**aws, "config": plain}).list_tables()["TableNames"])
