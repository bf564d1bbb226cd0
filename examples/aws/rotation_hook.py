"""The pre-provisioning hook of fleet-rotation-template."""

import os

import boto3

# boto3 of 2023 and later reads AWS_ENDPOINT_URL by itself. AWS Lambda does not set it.
iot = boto3.client("iot", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))


def handler(event, context):
    """Lets a device renew its own certificate, and no other device's.

    The parameters are what the device says. The certificate that it connected with is
    what AWS IoT has checked: it has to be attached to the thing.
    """
    thing_name = event["parameters"].get("ThingName")
    own = bool(thing_name) and event["claimCertificateId"] in certificates_of(thing_name)
    if not own:
        print(f"refused thing {thing_name!r}: the certificate {event['claimCertificateId']} is not attached to it")
    return {"allowProvisioning": own}


def certificates_of(thing_name):
    """Returns the ids of the certificates of a thing, none if there is no such thing."""
    try:
        pages = list(iot.get_paginator("list_thing_principals").paginate(thingName=thing_name))
    except iot.exceptions.ResourceNotFoundException:
        return []
    principals = [principal for page in pages for principal in page["principals"]]
    return [arn.split(":cert/")[1] for arn in principals if ":cert/" in arn]
