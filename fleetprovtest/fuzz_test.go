package fleetprovtest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// FuzzServer sends anything after a CONNECT, with the word TOKEN replaced by an
// ownership token. The server may close the connection, but it must not crash, and
// every goroutine of it must end, which Close waits for.
func FuzzServer(f *testing.F) {
	flow := func(all ...packets.ControlPacket) {
		var b bytes.Buffer
		for _, p := range all {
			require.NoError(f, p.Write(&b))
		}
		f.Add(b.Bytes())
	}
	subscribe := func(topics ...string) *packets.SubscribePacket {
		p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		p.MessageID, p.Topics, p.Qoss = 1, topics, make([]byte, len(topics))
		return p
	}
	publish := func(topic, payload string) *packets.PublishPacket {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.Qos, p.MessageID, p.TopicName, p.Payload = 1, 2, topic, []byte(payload)
		return p
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(f, err)
	request, err := json.Marshal(map[string]string{
		"certificateSigningRequest": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
	})
	require.NoError(f, err)
	flow(subscribe(csrTopic+"/accepted", csrTopic+"/rejected"), publish(csrTopic, string(request)))
	flow(subscribe(registerTopic+"/accepted", registerTopic+"/rejected"),
		publish(registerTopic, `{"certificateOwnershipToken":"TOKEN","parameters":{"SerialNumber":"1","Site":"2"}}`),
		publish(templateTopic("fleet"), `{"certificateOwnershipToken":"TOKEN","parameters":{"SerialNumber":"1-2","Site":"2"}}`))
	flow(subscribe("$aws/certificates/create-from-csr/cbor/+"), publish(csrTopicCBOR, "\xa1\x78\x19certificateSigningRequest\x61a"))
	flow(subscribe(registerTopicCBOR+"/#"), publish(registerTopicCBOR, "\xbf\x78\x19certificateOwnershipToken\x79\x01\xd0TOKEN\xff"))
	flow(subscribe("data/#"), publish("data/1", "21"), publish("$aws/things/a/shadow/update", "{}"))
	flow(publish(createTopic, ""), packets.NewControlPacket(packets.Pingreq), packets.NewControlPacket(packets.Disconnect))

	f.Fuzz(func(t *testing.T, data []byte) {
		server, listener := onPipesUnstarted(t)
		server.ClaimPolicy = policy(connects, publishes, subscribes, receives)
		withTemplates("fleet", fuzzedTemplate)(server)
		server.Start()
		defer closeServer(t, server)
		c, err := handshake(t, connectPipe(t, listener), clientConfig(server, server.ClaimCertificate()))
		require.NoError(t, err)
		c.connect("fuzz")
		c.subscribe(csrTopic + "/accepted")
		issued := decode[created](t, c.request(csrTopic, string(request)).Payload)

		c.wait(patience)
		ended := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, c.conn)
			ended <- err
		}()
		c.conn.Write(bytes.ReplaceAll(data, []byte("TOKEN"), []byte(issued.CertificateOwnershipToken))) // fails once the server has closed the connection
		c.conn.CloseWrite()
		require.NotErrorIs(t, <-ended, os.ErrDeadlineExceeded, "the server ends the connection, too")
	})
}

const fuzzedTemplate = `{"Parameters":{"SerialNumber":{"Type":"String"},"Site":{"Type":"String","Default":"x"}},
	"Resources":{` + certificateResource + `,"thing":{"Type":"AWS::IoT::Thing","Properties":{
		"ThingName":{"Fn::Sub":"${SerialNumber}-${Site}"},"ThingGroups":{"Fn::Split":["-",{"Ref":"SerialNumber"}]}}}},
	"DeviceConfiguration":{"second":{"Fn::Select":["1",{"Fn::Split":["-",{"Ref":"SerialNumber"}]}]}}}`

// FuzzKeepState starts a server with any file as its state. It must refuse the file, and
// then leave it as it is, or be able to read what it makes of it.
func FuzzKeepState(f *testing.F) {
	sound := stateOfAServer(f, filepath.Join(f.TempDir(), "state"))
	f.Add(sound)
	f.Add(sound[:len(sound)-10])
	f.Add(append(bytes.Clone(sound), `{"thing":{"Name":"a","CertificateIDs":["b"]}}`+"\n"...))
	f.Add(append(bytes.Clone(sound), `{"certificate":{"DER":"","Token":"a","Status":"ACTIVE"}}`+"\n"...))
	f.Add(append(bytes.Clone(sound), `{"deletedCertificate":"a"}`+"\n"+`{"claimStatus":"INACTIVE"}`+"\n"...))
	f.Add([]byte("{}\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		server := fleetprovtest.NewUnstartedServer()
		defer closeServer(t, server)
		if server.KeepState(path) != nil {
			left, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, content, left)
			return
		}
		server.Start()
		things, certificates := server.Things(), server.Certificates()
		server.Close()

		again := fleetprovtest.NewUnstartedServer()
		defer again.Close()
		require.NoError(t, again.KeepState(path), "what it has written can be read")
		require.Equal(t, server.ClaimCertificate().Leaf, again.ClaimCertificate().Leaf)
		require.Len(t, again.Things(), len(things))
		require.Len(t, again.Certificates(), len(certificates))
	})
}
