"""Make buckets on an S3 server unless they are there: `buckets.py ENDPOINT NAME...`."""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}

endpoint, *names = sys.argv[1:]
style = Config(s3={"addressing_style": "path"})
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=style)
for name in names:
    try:
        client.create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in THERE:
            raise
    client.head_bucket(Bucket=name)  # ours, not just anyone's
    print(f"bucket {name} is there")
