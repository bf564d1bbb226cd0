// Provisions a device with AWS's IoT SDK for JavaScript over MQTT 3.1.1 or 5, and publishes
// a message as the device:
//   node awssdk.js VERSION HOST PORT TEMPLATE PARAMETERS DIRECTORY
const { once } = require('events');
const fs = require('fs');
const path = require('path');
const { iot, iotidentity, mqtt, mqtt5 } = require('aws-iot-device-sdk-v2');

const [version, host, port, template, parameters, directory] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(directory, name), 'utf8');
const requests = { maxRequestResponseSubscriptions: 4, maxStreamingSubscriptions: 1, operationTimeoutInSeconds: 20 };

// What both versions can do, each in its own way.
const clients = {
  3.1: async (clientId, certificate, key) => {
    const connection = new mqtt.MqttClient().new_connection(
      iot.AwsIotMqttConnectionConfigBuilder.new_mtls_builder(certificate, key)
        .with_certificate_authority(read('root-ca.pem'))
        .with_endpoint(host).with_port(Number(port))
        .with_client_id(clientId).with_clean_session(true).build());
    await connection.connect();
    return {
      identity: () => iotidentity.IotIdentityClientv2.newFromMqtt311(connection, requests),
      publish: (topic, message) => connection.publish(topic, message, mqtt.QoS.AtLeastOnce),
      stop: () => connection.disconnect(),
    };
  },
  5: async (clientId, certificate, key) => {
    const client = new mqtt5.Mqtt5Client(
      iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromMemory(host, certificate, key)
        .withCertificateAuthority(read('root-ca.pem')).withPort(Number(port))
        .withConnectProperties({ clientId, keepAliveIntervalSeconds: 60 }).build());
    const connected = Promise.race([
      once(client, 'connectionSuccess'),
      once(client, 'connectionFailure').then(([failure]) => { throw failure.error; }),
    ]);
    client.start();
    await connected;
    return {
      identity: () => iotidentity.IotIdentityClientv2.newFromMqtt5(client, requests),
      publish: (topicName, payload) => client.publish({ topicName, payload, qos: mqtt5.QoS.AtLeastOnce }),
      stop: async () => { const stopped = once(client, 'stopped'); client.stop(); await stopped; client.close(); },
    };
  },
};

(async () => {
  const connect = clients[version];
  const claim = await connect('fleetprov-js', read('claim.pem.crt'), read('claim.pem.key'));
  const identity = claim.identity();
  const created = await identity.createKeysAndCertificate({});
  const registered = await identity.registerThing({
    templateName: template,
    certificateOwnershipToken: created.certificateOwnershipToken,
    parameters: JSON.parse(parameters),
  });
  identity.close();
  await claim.stop();

  const thing = registered.thingName;
  const device = await connect(thing, created.certificatePem, created.privateKey);
  await device.publish(`devices/${thing}/telemetry`, '{"celsius":21}');
  await device.stop();
  console.log('provisioned', thing);
  process.exit(0); // timers of the SDK would keep the process for some seconds
})().catch((error) => { console.error(error); process.exit(1); });
