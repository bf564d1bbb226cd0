"""The pre-provisioning hook of fleet-rotation-template."""


def handler(event, context):
    """Lets a device renew its own certificate, and no other device's.

    The device policy pins the client id to the thing of the certificate that the
    device connected with; the parameters are what the device says.
    """
    own = event["parameters"].get("ThingName") == event["clientId"]
    return {"allowProvisioning": own}
