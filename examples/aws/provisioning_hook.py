"""The pre-provisioning hook of fleet-template.

AWS IoT calls it for every RegisterThing, the repeated ones of a device that has lost
the answer included. The serial numbers that may register are in serial-numbers.txt,
beside this file.
"""

import os

import boto3

# boto3 of 2023 and later reads AWS_ENDPOINT_URL by itself. AWS Lambda does not set it.
iot = boto3.client("iot", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))

# The names of things, as in provisioning-template.json.
THING_NAME = os.environ.get("THING_NAME", "device-{SerialNumber}")

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "serial-numbers.txt")) as file:
    SERIAL_NUMBERS = set(file.read().split())


def handler(event, context):
    """Lets a device register that is on the list and is not registered already.

    Whoever registers a serial number gets the identity of its thing. So while the
    thing has an active certificate, no other one is let in: the operator releases the
    serial number by deactivating that certificate.
    """
    serial_number = event["parameters"].get("SerialNumber")
    refusal = reason_to_refuse(serial_number, event["certificateId"])
    if refusal:
        print(f"refused serial number {serial_number!r}: {refusal}")
    return {"allowProvisioning": refusal is None}


def reason_to_refuse(serial_number, certificate_id):
    if serial_number not in SERIAL_NUMBERS:
        return "it is not on the list"
    registered = certificates_of(THING_NAME.replace("{SerialNumber}", serial_number))
    if certificate_id in registered:
        return None  # the device asks again
    for other in registered:
        if is_active(other):
            return f"its thing has the active certificate {other}: deactivate that one to release the serial number"
    return None


def certificates_of(thing_name):
    """Returns the ids of the certificates of a thing, none if there is no such thing."""
    try:
        pages = list(iot.get_paginator("list_thing_principals").paginate(thingName=thing_name))
    except iot.exceptions.ResourceNotFoundException:
        return []
    principals = [principal for page in pages for principal in page["principals"]]
    return [arn.split(":cert/")[1] for arn in principals if ":cert/" in arn]


def is_active(certificate_id):
    try:
        description = iot.describe_certificate(certificateId=certificate_id)
    except iot.exceptions.ResourceNotFoundException:
        return False  # it was deleted in between
    return description["certificateDescription"]["status"] == "ACTIVE"
