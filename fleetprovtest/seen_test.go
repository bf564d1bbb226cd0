package fleetprovtest_test

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// refusedClient is a client that AWS IoT refuses.
type refusedClient struct {
	name string
	// setup changes a server before Start; nil: nothing.
	setup func(*fleetprovtest.Server)
	// certificate makes the certificate that the client, device-1, connects with.
	certificate func(*desk) tls.Certificate
	byClientID  bool // it is the client id that is refused
}

var refusedClients = []refusedClient{
	{
		name: "a certificate that AWS IoT has not issued",
		certificate: func(*desk) tls.Certificate {
			return testca.New("stranger").Client("device", testca.Validity{})
		},
	},
	{
		name: "a certificate that is not registered yet",
		certificate: func(d *desk) tls.Certificate {
			_, certificate := d.claim("enrolling").createFromCSR()
			return certificate
		},
	},
	{
		name: "a certificate that was deactivated",
		certificate: func(d *desk) tls.Certificate {
			issued, certificate := d.enrol("test-template", `{}`)
			require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
			return certificate
		},
	},
	{
		name: "a certificate that was revoked",
		certificate: func(d *desk) tls.Certificate {
			issued, certificate := d.enrol("test-template", `{}`)
			require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "REVOKED"))
			return certificate
		},
	},
	{
		name: "a certificate that was deleted",
		certificate: func(d *desk) tls.Certificate {
			issued, certificate := d.enrol("test-template", `{}`)
			require.NoError(d, d.server.DeleteCertificate(issued.CertificateID))
			return certificate
		},
	},
	{
		name:  "a certificate without a policy",
		setup: withTemplates("bare", `{"Resources":{`+certificateResource+`}}`),
		certificate: func(d *desk) tls.Certificate {
			_, certificate := d.enrol("bare", `{}`)
			return certificate
		},
	},
	{
		name:        "a client id that the policy does not allow",
		setup:       claimPolicy(allow("iot:Connect", "client/another")),
		certificate: func(d *desk) tls.Certificate { return d.server.ClaimCertificate() },
		byClientID:  true,
	},
}

// tapped remembers what it has read.
type tapped struct {
	net.Conn
	mu   sync.Mutex // guards read
	read []byte
}

func (t *tapped) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = append(t.read, b[:n]...)
	return n, err
}

// lastRecord returns the type of the last TLS record, which TLS 1.2 does not hide.
func (t *tapped) lastRecord() (kind byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := t.read; len(rest) >= 5; rest = rest[5+int(rest[3])<<8+int(rest[4]):] {
		kind = rest[0]
	}
	return kind
}

func TestRefusals(t *testing.T) {
	const (
		closes   = "observed (paho.mqtt.python issue 448, aws-iot-device-sdk-cpp-v2 issue 247): the handshake succeeds, and after CONNECT the connection is closed without a CONNACK"
		reasons  = "mqtt: a client of MQTT 5 is told a reason code"
		connack  = "mqtt: not authorized is return code 7"
		alert    = "observed in older reports: a certificate that is not active fails the handshake"
		tlsAlert = 21 // RFC 5246 section 6.2.1
	)
	var all []behaviour
	add := func(refused refusedClient, how, fact string, refusal fleetprovtest.Refusal, steps func(*desk, tls.Certificate)) {
		all = append(all, behaviour{
			name: refused.name + " " + how,
			fact: fact,
			setup: func(s *fleetprovtest.Server) {
				s.Refusal = refusal
				if refused.setup != nil {
					refused.setup(s)
				}
			},
			steps: func(d *desk) { steps(d, refused.certificate(d)) },
		})
	}
	for _, refused := range refusedClients {
		add(refused, "is closed without a word", closes, fleetprovtest.RefuseByClosing, func(d *desk, certificate tls.Certificate) {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				config := clientConfig(d.server, certificate)
				config.MaxVersion = version
				raw := &tapped{Conn: connectPipe(d.T, d.listener)}
				c, err := handshake(d.T, raw, config)
				require.NoError(d, err)
				c.sendConnect("device-1")
				c.closedAfter(0)
				if version == tls.VersionTLS12 {
					assert.Equal(d, byte(tlsAlert), raw.lastRecord(), "the end is announced (close_notify)")
				}
			}
		})
		add(refused, "is told 0x87 over MQTT 5", reasons, fleetprovtest.RefuseByClosing, func(d *desk, certificate tls.Certificate) {
			c := d.handshake(certificate)
			c.writes(connect5)
			c.reads("20 03 00 87 00")
			c.closedAfter(0)
		})
		add(refused, "gets CONNACK 7 from a server with RefuseByConnack", connack, fleetprovtest.RefuseByConnack, func(d *desk, certificate tls.Certificate) {
			c := d.handshake(certificate)
			c.sendConnect("device-1")
			c.reads("20 02 00 07")
			c.closedAfter(0)
			c = d.handshake(certificate)
			c.writes(connect5)
			c.reads("20 03 00 87 00")
			c.closedAfter(0)
		})
		if refused.byClientID {
			add(refused, "is closed by a server with RefuseInHandshake, which knows no client id there", closes, fleetprovtest.RefuseInHandshake, func(d *desk, certificate tls.Certificate) {
				d.notAuthorized(certificate, "device-1")
			})
			continue
		}
		add(refused, "fails the handshake with a server with RefuseInHandshake", alert, fleetprovtest.RefuseInHandshake, func(d *desk, certificate tls.Certificate) {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				config := clientConfig(d.server, certificate)
				config.MaxVersion = version
				err := refusal(d.T, connectPipe(d.T, d.listener), config)
				var alert *net.OpError
				require.ErrorAs(d, err, &alert)
				assert.Equal(d, "remote error", alert.Op)
			}
		})
	}
	walk(t, all)
}

func TestGreengrassLite(t *testing.T) {
	walk(t, []behaviour{{
		name: "a client of MQTT 5 that never subscribes provisions with a CSR",
		fact: "observed: AWS IoT Greengrass nucleus lite sends CONNECT and two PUBLISH, and is answered",
		steps: func(d *desk) {
			c := client5{d.handshake(d.server.ClaimCertificate())}
			c.writes(connect5)
			require.Zero(d, expect5[*packets5.Connack](c).ReasonCode)
			key := ecKey(d.T, elliptic.P256())
			c.sendPublish(csrTopic, csrPayload(d.T, csr(d.T, key, nil)))
			assert.Equal(d, uint16(2), expect5[*packets5.Puback](c).PacketID)
			answer := expect5[*packets5.Publish](c)
			assert.Equal(d, csrTopic+"/accepted", answer.Topic)
			issued := decode[created](d.T, answer.Payload)
			c.sendPublish(registerTopic, `{"certificateOwnershipToken":"`+issued.CertificateOwnershipToken+`","parameters":{"ThingName":"core"}}`)
			expect5[*packets5.Puback](c)
			answer = expect5[*packets5.Publish](c)
			assert.Equal(d, registerTopic+"/accepted", answer.Topic)
			assert.JSONEq(d, `{"thingName":"core"}`, string(answer.Payload))
			for _, r := range d.server.Requests() {
				assert.NotEqual(d, fleetprovtest.OpSubscribe, r.Op)
			}
			d.connect(pairWith(d.T, issued, key), "core").ping()
		},
	}})
}

func TestSizes(t *testing.T) {
	walk(t, []behaviour{
		{
			name: "what is issued has the size and the names that AWS's has",
			fact: "observed: a token has 464 characters and is base64 of a JSON object, a certificate is signed with RSA and has about 1,224 characters for an RSA key and 950 for one on P-256; NotBefore is two minutes ago, NotAfter 2049-12-31T23:59:59Z",
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.subscribe(createTopic + "/accepted")
				forRSA := c.createKeys()
				forP256, _ := c.createFromCSR()
				assert.InDelta(d, 1224, len(forRSA.CertificatePEM), 20)
				assert.InDelta(d, 950, len(forP256.CertificatePEM), 20)
				for _, issued := range []created{forRSA, forP256} {
					assert.Len(d, issued.CertificateOwnershipToken, 464)
					token, err := base64.StdEncoding.DecodeString(issued.CertificateOwnershipToken)
					require.NoError(d, err)
					assert.True(d, json.Valid(token), "%s", token)

					leaf, err := x509.ParseCertificate(derOf(d.T, issued.CertificatePEM))
					require.NoError(d, err)
					assert.Equal(d, x509.SHA256WithRSA, leaf.SignatureAlgorithm)
					assert.Equal(d, "CN=AWS IoT Certificate", leaf.Subject.String())
					assert.Equal(d, []string{"Amazon Web Services O=Amazon.com Inc. L=Seattle ST=Washington C=US"}, leaf.Issuer.OrganizationalUnit)
					assert.LessOrEqual(d, leaf.SerialNumber.BitLen(), 160)
					assert.Greater(d, leaf.SerialNumber.BitLen(), 128)
					assert.Equal(d, time.Now().Add(-2*time.Minute).UTC(), leaf.NotBefore)
					assert.Equal(d, time.Date(2049, time.December, 31, 23, 59, 59, 0, time.UTC), leaf.NotAfter)
				}
			},
		},
		{
			name: "the server sends a chain as large as AWS's",
			fact: "observed: the certificate of an endpoint and three above it, 3,000 to 5,000 bytes; server-authentication: they chain to a root that clients have",
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				chain := c.conn.ConnectionState().PeerCertificates
				require.Len(d, chain, 4)
				size := 0
				for _, certificate := range chain {
					size += len(certificate.Raw)
				}
				assert.Greater(d, size, 3000)
				assert.Less(d, size, 5000)
				assert.Equal(d, x509.RSA, chain[0].PublicKeyAlgorithm)
				assert.Equal(d, d.server.RootCertificate().RawSubject, chain[3].RawIssuer)
			},
		},
	})
}

// Servers share keys, since it takes long to make them, but nothing that is trusted.
func TestServersDoNotTrustEachOther(t *testing.T) {
	first, second := fleetprovtest.NewServer(), fleetprovtest.NewServer()
	defer closeServer(t, first)
	defer closeServer(t, second)
	config := clientConfig(second, second.ClaimCertificate())
	config.RootCAs = first.RootCAs()
	_, err := dial(t, second, config)
	assert.ErrorAs(t, err, new(x509.UnknownAuthorityError))

	c, err := dial(t, second, clientConfig(second, first.ClaimCertificate()))
	require.NoError(t, err)
	c.sendConnect("device-1")
	c.closed()
}

func TestLags(t *testing.T) {
	const minutes = "provision-wo-cert, API_UpdateCertificate: what becomes of a certificate can take minutes to take effect"
	lagging := func(s *fleetprovtest.Server) { s.ActivationLag = time.Minute }
	lasting := func(s *fleetprovtest.Server) { s.DeactivationLag = time.Minute }
	walk(t, []behaviour{
		{
			name:  "a registered certificate is refused until the lag is over",
			fact:  minutes,
			setup: lagging,
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				assert.Equal(d, "ACTIVE", d.server.Certificates()[0].Status)
				d.refused(certificate)
				d.pass(time.Minute - time.Second)
				d.refused(certificate)
				d.pass(time.Second)
				d.connect(certificate, "device-1").ping()
				assert.Equal(d, issued.CertificateID, d.server.Certificates()[0].ID)
			},
		},
		{
			name:  "the clock that the test moves ends the lag, too",
			fact:  minutes,
			setup: lagging,
			steps: func(d *desk) {
				_, certificate := d.enrol("test-template", `{}`)
				d.server.Advance(time.Minute)
				d.connect(certificate, "device-1").ping()
			},
		},
		{
			name: "a registration that is repeated does not begin the lag again",
			fact: minutes,
			setup: func(s *fleetprovtest.Server) {
				s.ActivationLag = time.Minute
			},
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{}`)
				d.pass(time.Minute)
				require.Equal(d, registerTopic+"/accepted", d.claim("again").register("test-template", issued.CertificateOwnershipToken, `{}`).TopicName)
				d.connect(certificate, "device-1").ping()
			},
		},
		{
			name:  "a certificate that is deactivated keeps its connections until the lag is over, and opens no more",
			fact:  minutes,
			setup: lasting,
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				c := d.connect(certificate, "device-1")
				require.NoError(d, d.server.UpdateCertificate(strings.ToUpper(issued.CertificateID), "INACTIVE"))
				d.notAuthorized(certificate, "device-2")
				d.pass(time.Minute - time.Second)
				c.publish("data", "")
				c.closedAfter(time.Second)
			},
		},
		{
			name:  "so does one that is deleted",
			fact:  minutes,
			setup: lasting,
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				c := d.connect(certificate, "device-1")
				require.NoError(d, d.server.DeleteCertificate(issued.CertificateID))
				c.ping()
				c.closedAfter(time.Minute)
			},
		},
		{
			name:  "a certificate that is active again when the lag is over keeps its connections for good",
			fact:  minutes,
			setup: lasting,
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				c := d.connect(certificate, "device-1")
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
				c.stay(30 * time.Second)
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "ACTIVE"))
				c.stay(5 * time.Minute)
			},
		},
		{
			name:  "the lag of one that is deactivated twice begins with the second time",
			fact:  minutes,
			setup: lasting,
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				c := d.connect(certificate, "device-1")
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
				c.stay(20 * time.Second)
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "ACTIVE"))
				c.stay(20 * time.Second)
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
				c.stay(59 * time.Second)
				c.closedAfter(time.Second)
			},
		},
		{
			name:  "one that is deactivated, revoked and deleted in turn keeps its connections no longer",
			fact:  minutes,
			setup: lasting,
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				c := d.connect(certificate, "device-1")
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
				c.stay(20 * time.Second)
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "REVOKED"))
				c.stay(20 * time.Second)
				require.NoError(d, d.server.DeleteCertificate(issued.CertificateID))
				c.closedAfter(20 * time.Second)
			},
		},
		{
			name:  "the clock that the test moves ends the connections of one that was deactivated, too",
			fact:  minutes,
			setup: lasting,
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				c := d.connect(certificate, "device-1")
				other := d.connect(d.server.ClaimCertificate(), "other")
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
				d.server.Advance(time.Minute - time.Second)
				c.ping()
				d.server.Advance(time.Second)
				c.closedAfter(0)
				other.ping()
			},
		},
	})
}

func TestTokensThatWereUsed(t *testing.T) {
	const unknown = "nothing public says whether a token can be used again after a RegisterThing that succeeded"
	walk(t, []behaviour{
		{
			name: "a token can be used again, and changes nothing",
			fact: unknown,
			steps: func(d *desk) {
				issued, _ := d.enrol("test-template", `{"ThingName":"a"}`)
				answer := d.claim("again").register("test-template", issued.CertificateOwnershipToken, `{"ThingName":"b"}`)
				assert.JSONEq(d, `{"thingName":"a"}`, string(answer.Payload))
				assert.Len(d, d.server.Things(), 1)
			},
		},
		{
			name:  "a server with SingleUseTokens refuses it",
			fact:  unknown + "; fleet-provision-api: 400 is a bad request",
			setup: func(s *fleetprovtest.Server) { s.SingleUseTokens = true },
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"a"}`)
				answer := d.claim("again").register("test-template", issued.CertificateOwnershipToken, `{"ThingName":"a"}`)
				rejects(d.T, answer, 400, "InvalidCertificateOwnershipToken")
				d.connect(certificate, "a").ping()
			},
		},
		{
			name: "a server with SingleUseTokens takes one that was refused before",
			fact: unknown,
			setup: func(s *fleetprovtest.Server) {
				s.SingleUseTokens = true
				s.Parameters = []string{"SerialNumber"}
			},
			steps: func(d *desk) {
				c := d.claim("device-1")
				issued, _ := c.createFromCSR()
				rejects(d.T, c.register("test-template", issued.CertificateOwnershipToken, `{}`), 400, "InvalidParameters")
				answer := c.register("test-template", issued.CertificateOwnershipToken, `{"SerialNumber":"1"}`)
				assert.Equal(d, registerTopic+"/accepted", answer.TopicName)
			},
		},
	})
}

// ownersCA signs as a certificate provider does: for a short time, under the owner's name,
// and with the chain.
func ownersCA(ca *testca.CA, validity time.Duration) func(*x509.CertificateRequest) ([]byte, error) {
	return func(request *x509.CertificateRequest) ([]byte, error) {
		leaf, err := ca.Issue("pump", testca.Validity{NotAfter: time.Now().Add(validity)}, request.PublicKey)
		if err != nil {
			return nil, err
		}
		var text []byte
		for _, certificate := range []*x509.Certificate{leaf, ca.Certificate()} {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
		}
		return text, nil
	}
}

func TestOtherCertificates(t *testing.T) {
	const provider = "provisioning-cert-provider: CreateCertificateFromCsr goes to a Lambda function, which signs with an authority of the owner's; CreateKeysAndCertificate does not"
	provided := func(s *fleetprovtest.Server) {
		owner := testca.New("owner").Intermediate(pkix.Name{CommonName: "fleet"}, ecKeyOf(elliptic.P256()))
		s.SignCSR = ownersCA(owner, time.Hour)
	}
	walk(t, []behaviour{
		{
			name:  "a certificate is valid for as long as it is set, and refused afterwards",
			fact:  "x509-client-certs: a certificate that has expired is refused",
			setup: func(s *fleetprovtest.Server) { s.CertificateValidity = 24 * time.Hour },
			steps: func(d *desk) {
				d.server.Advance(100 * 24 * time.Hour)
				_, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				assert.Equal(d, time.Now().Add(101*24*time.Hour).UTC(), certificate.Leaf.NotAfter)
				d.server.Advance(24 * time.Hour)
				d.connect(certificate, "device-1").ping()
				d.server.Advance(time.Second)
				d.refused(certificate)
			},
		},
		{
			name:  "a certificate provider signs for its owner",
			fact:  provider,
			setup: provided,
			steps: func(d *desk) {
				c := d.claim("enrolling")
				issued, certificate := c.createFromCSR()
				assert.Equal(d, 2, strings.Count(issued.CertificatePEM, "BEGIN CERTIFICATE"))
				assert.Equal(d, "pump", certificate.Leaf.Subject.CommonName)
				assert.Equal(d, "fleet", certificate.Leaf.Issuer.CommonName)
				assert.Equal(d, sha256Hex(certificate.Leaf.Raw), issued.CertificateID)
				c.register("test-template", issued.CertificateOwnershipToken, `{"ThingName":"device-1"}`)
				d.connect(certificate, "device-1").ping()
				d.server.Advance(time.Hour + time.Second)
				d.refused(certificate)

				c.subscribe(createTopic + "/accepted")
				assert.Equal(d, "AWS IoT Certificate", c.createKeys().certificate(d.T).Leaf.Subject.CommonName)
			},
		},
		{
			name: "a server with RefuseInHandshake knows the owner's certificates, too",
			fact: provider,
			setup: func(s *fleetprovtest.Server) {
				provided(s)
				s.Refusal = fleetprovtest.RefuseInHandshake
			},
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				d.connect(certificate, "device-1").ping()
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
				assert.ErrorContains(d, refusal(d.T, connectPipe(d.T, d.listener), clientConfig(d.server, certificate)), "bad certificate")
			},
		},
		{
			name: "a certificate provider that fails is a 500, and holds up nobody meanwhile",
			fact: "nothing public says what becomes of the request",
			setup: func(s *fleetprovtest.Server) {
				s.SignCSR = func(*x509.CertificateRequest) ([]byte, error) {
					<-time.After(time.Second)
					return nil, errors.New("out of order")
				}
			},
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.createFromCSRUnheard()
				c.ping()
				rejects(d.T, c.message(), 500, "InternalFailure")
				assert.Empty(d, d.server.Certificates())
			},
		},
	})
}

func TestExclusiveThing(t *testing.T) {
	const fact = "exclusive-thing: a certificate that is attached exclusively is that thing's under any client id; thing-policy-variables: otherwise the client id is to be the thing name"
	template := func(principalType string) func(*fleetprovtest.Server) {
		return func(s *fleetprovtest.Server) {
			withTemplates("fleet", `{"Parameters":{"ThingName":{"Type":"String"}},"Resources":{
				"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":{"Ref":"ThingName"}}},
				"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"},"Status":"Active","ThingPrincipalType":"`+principalType+`"}},
				"policy":{"Type":"AWS::IoT::Policy","Properties":{"PolicyName":"fleet-device-policy"}}}}`)(s)
			devicePolicy(connects, allow("iot:Publish", "topic/${iot:Connection.Thing.ThingName}/data"))(s)
		}
	}
	walk(t, []behaviour{
		{
			name:  "the client id of an exclusive thing may be any",
			fact:  fact,
			setup: template("EXCLUSIVE_THING"),
			steps: func(d *desk) {
				_, certificate := d.enrol("fleet", `{"ThingName":"pump"}`)
				d.connect(certificate, "another").publish("pump/data", "")
			},
		},
		{
			name:  "the client id of another thing is its name",
			fact:  fact,
			setup: template("NON_EXCLUSIVE_THING"),
			steps: func(d *desk) {
				_, certificate := d.enrol("fleet", `{"ThingName":"pump"}`)
				d.connect(certificate, "pump").publish("pump/data", "")
				c := d.connect(certificate, "another")
				c.sendPublish(2, "pump/data", "")
				c.closedAfter(0)
			},
		},
	})
}

func TestPolicyVariablesOfTheConnection(t *testing.T) {
	walk(t, []behaviour{
		{
			name: "a device publishes to the topics of its certificate",
			fact: "cert-policy-variables: iot:CertificateId and the attributes of the subject and the issuer are variables",
			setup: devicePolicy(connects, allow("iot:Publish", "topic/${iot:CertificateId}/data",
				"topic/${iot:Certificate.Subject.CommonName}/data", "topic/${iot:Certificate.SerialNumber}/data")),
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				c := d.connect(certificate, "device-1")
				c.publish(issued.CertificateID+"/data", "")
				c.publish("AWS IoT Certificate/data", "")
				c.publish(certificate.Leaf.SerialNumber.Text(16)+"/data", "")
				c.sendPublish(2, "another/data", "")
				c.closedAfter(0)
			},
		},
		{
			name:  "a device connects by the name of the endpoint that it asks for",
			fact:  "iot-custom-endpoints-configurable: iot:DomainName is the host that the client names",
			setup: devicePolicy(`{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"StringEquals":{"iot:DomainName":"another.example.com"}}}`),
			steps: func(d *desk) {
				_, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				d.notAuthorized(certificate, "device-1")
			},
		},
		{
			name:  "a connection without an address has no aws:SourceIp",
			fact:  "basic-policy-variables: aws:SourceIp is the address of the client",
			setup: devicePolicy(`{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}}`),
			steps: func(d *desk) {
				_, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				d.notAuthorized(certificate, "device-1")
			},
		},
		{
			name: "a policy with a variable that has no value here is refused by name",
			fact: "the endpoint's own: a policy that cannot be evaluated as AWS does must not seem to work",
			steps: func(d *desk) {
				err := d.server.AddPolicy("fleet-device-policy", policy(allow("iot:Publish", "topic/${aws:username}")))
				assert.ErrorContains(d, err, "aws:username")
			},
		},
		{
			name: "a policy that also grants rights in another service is taken",
			fact: "greengrass developer guide: a core's policy has greengrass actions beside those of MQTT",
			setup: func(s *fleetprovtest.Server) {
				s.DevicePolicy = policy(connects, publishes, `{"Effect":"Allow","Action":"greengrass:Discover","Resource":"arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/*"}`)
			},
			steps: func(d *desk) { d.device("core").publish("data", "") },
		},
	})
}

func TestSourceIP(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.ClaimPolicy = policy(`{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}`,
		allow("iot:Publish", "topic/from/${aws:SourceIp}"))
	server.Start()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.publish("from/127.0.0.1", "")
	c.sendPublish(2, "from/192.0.2.1", "")
	c.closed()
}

func TestHookMayAddWhatTheTemplateDoesNotDeclare(t *testing.T) {
	walk(t, []behaviour{{
		name: "a parameter of the hook's that the template does not declare is taken",
		fact: "pre-provisioning-hook: the example returns parameterOverrides whatever the template has",
		setup: func(s *fleetprovtest.Server) {
			withTemplates("fleet", typedTemplate("pump", "basel"))(s)
			s.Hook = func(hookRequest) hookResponse {
				return hookResponse{AllowProvisioning: true, ParameterOverrides: map[string]string{"DeviceLocation": "Seattle"}}
			}
		},
		steps: func(d *desk) {
			d.enrol("fleet", `{"ThingName":"a"}`)
			assert.Equal(d, map[string]string{"ThingName": "a", "DeviceLocation": "Seattle"}, d.server.Things()[0].Parameters)
		},
	}})
}
