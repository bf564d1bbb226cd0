// Provisions a device with MQTT.js over MQTT 3.1.1 or 5, and publishes a message as the
// device:
//   node mqttjs.js VERSION HOST PORT TEMPLATE PARAMETERS DIRECTORY
const fs = require('fs');
const path = require('path');
const mqtt = require('mqtt');

const [version, host, port, template, parameters, directory] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(directory, name));

const connect = (clientId, cert, key) => mqtt.connectAsync({
  protocol: 'mqtts', protocolVersion: version === '5' ? 5 : 4, host, port: Number(port),
  ca: read('root-ca.pem'), cert, key, clientId, reconnectPeriod: 0,
}, undefined, false);

async function ask(claim, topic, request) {
  const answered = new Promise((resolve, reject) => {
    claim.once('message', (from, payload) => {
      const answer = JSON.parse(payload);
      if (from === `${topic}/accepted`) resolve(answer); else reject(new Error(`${from}: ${payload}`));
    });
    claim.once('close', () => reject(new Error('the connection was closed')));
  });
  answered.catch(() => {}); // it is looked at below
  await claim.subscribeAsync([`${topic}/accepted`, `${topic}/rejected`], { qos: 1 });
  await claim.publishAsync(topic, JSON.stringify(request), { qos: 1 });
  return answered;
}

(async () => {
  const claim = await connect('fleetprov-js', read('claim.pem.crt'), read('claim.pem.key'));
  const created = await ask(claim, '$aws/certificates/create/json', {});
  const registered = await ask(claim, `$aws/provisioning-templates/${template}/provision/json`, {
    certificateOwnershipToken: created.certificateOwnershipToken,
    parameters: JSON.parse(parameters),
  });
  await claim.endAsync();

  const thing = registered.thingName;
  const device = await connect(thing, created.certificatePem, created.privateKey);
  await device.publishAsync(`devices/${thing}/telemetry`, '{"celsius":21}', { qos: 1 });
  await device.endAsync();
  console.log('provisioned', thing);
})().catch((error) => { console.error(error); process.exit(1); });
