# Provisions a device with AWS's Common Runtime for Python, which AWS's IoT SDK for Python
# is made of, and publishes a message as the device:
#   python3 provision.py HOST PORT TEMPLATE PARAMETERS DIRECTORY
import json, pathlib, queue, sys
from awscrt import io, mqtt

host, port, template, parameters, directory = sys.argv[1:]
read = lambda name: pathlib.Path(directory, name).read_bytes()

def connect(client_id, certificate, key):
    options = io.TlsContextOptions.create_client_with_mtls(certificate, key)
    options.override_default_trust_store(read("root-ca.pem"))
    client = mqtt.Client(tls_ctx=io.ClientTlsContext(options))
    connection = mqtt.Connection(client, host, int(port), client_id, keep_alive_secs=60)
    connection.connect().result(20)
    return connection

def ask(topic, request):
    answers = queue.Queue()
    heard = lambda topic, payload, **_: answers.put((topic, json.loads(payload)))
    for end in "/accepted", "/rejected":
        claim.subscribe(topic + end, mqtt.QoS.AT_LEAST_ONCE, heard)[0].result(20)
    claim.publish(topic, json.dumps(request), mqtt.QoS.AT_LEAST_ONCE)[0].result(20)
    topic, answer = answers.get(timeout=20)
    return answer if topic.endswith("/accepted") else sys.exit(f"{topic}: {answer}")

claim = connect("fleetprov-python", read("claim.pem.crt"), read("claim.pem.key"))
created = ask("$aws/certificates/create/json", {})
registered = ask(f"$aws/provisioning-templates/{template}/provision/json", {
    "certificateOwnershipToken": created["certificateOwnershipToken"],
    "parameters": json.loads(parameters),
})
claim.disconnect().result(20)

thing = registered["thingName"]
device = connect(thing, created["certificatePem"].encode(), created["privateKey"].encode())
device.publish(f"devices/{thing}/telemetry", '{"celsius":21}', mqtt.QoS.AT_LEAST_ONCE)[0].result(20)
device.disconnect().result(20)
print("provisioned", thing)
