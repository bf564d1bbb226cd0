package flow_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

var pipelined = fleetprov.WithPipelining()

// asked returns what a server was asked, in order.
func asked(server *fleetprovtest.Server) (ops []fleetprovtest.Op) {
	for _, request := range server.Requests() {
		ops = append(ops, request.Op)
	}
	return ops
}

const (
	opConnect   = fleetprovtest.OpConnect
	opSubscribe = fleetprovtest.OpSubscribe
	opCreate    = fleetprovtest.OpCreateKeysAndCertificate
	opRegister  = fleetprovtest.OpRegisterThing
)

// The server gets the request while its SUBACK still waits.
func TestPipeliningDoesNotWaitForTheSuback(t *testing.T) {
	for _, test := range []struct {
		name   string
		opts   []fleetprov.Option
		create time.Duration // when the request is there, after SUBSCRIBE
	}{
		{"pipelined", []fleetprov.Option{pipelined}, 0},
		{"pipelined, CSR", []fleetprov.Option{pipelined, fleetprov.WithGeneratedKey()}, 0},
		{"pipelined, CBOR", []fleetprov.Option{pipelined, fleetprov.WithCBOR()}, 0},
		{"not pipelined", nil, 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, test.opts...)
				server.Inject(opConnect, fleetprovtest.Fault{Delay: time.Second}) // time to make a key
				server.Inject(opSubscribe, fleetprovtest.Fault{Delay: 3 * time.Second})
				_, err := provisioner.Provision(t.Context(), nil)
				require.NoError(t, err)
				requests := server.Requests()
				require.Len(t, requests, 4)
				subscribed := requests[1].Time
				assert.Equal(t, test.create, requests[2].Time.Sub(subscribed))
				assert.Equal(t, opRegister, requests[3].Op)
				assert.Equal(t, 3*time.Second, requests[3].Time.Sub(subscribed), "what makes a certificate active waits for the SUBACK")
				assert.Len(t, server.Certificates(), 1)
			})
		})
	}
}

// AWS forbids sending before CONNACK (AWS developer guide, "mqtt"): the server
// would close the connection.
func TestPipeliningWaitsForConnack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, pipelined, provtest.OneAttempt)
		server.Inject(opConnect, fleetprovtest.Fault{Delay: 3 * time.Second})
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
	})
}

// The answer is there first, and is not lost: it is used when the SUBACK has come.
func TestAnswerBeforeItsSuback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, pipelined, provtest.OneAttempt)
		server.Inject(opSubscribe, fleetprovtest.Fault{Delay: 3 * time.Second})
		server.Inject(opCreate, fleetprovtest.Fault{Duplicate: true})
		credentials, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, server.Certificates(), 1)
		assert.Equal(t, server.Certificates()[0].ID, credentials.CertificateID)
		assert.Equal(t, "ACTIVE", server.Certificates()[0].Status)
	})
}

// A refusal counts, whatever has been answered by then.
func TestSubackThatRefusesAPipelinedRun(t *testing.T) {
	for name, fault := range map[string]fleetprovtest.Fault{
		"before the answer": {Reject: &fleetprovtest.Rejection{}},
		"after the answer":  {Reject: &fleetprovtest.Rejection{}, Delay: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, pipelined)
				server.Inject(opSubscribe, fault)
				credentials, err := provisioner.Provision(t.Context(), nil)
				assert.Nil(t, credentials)
				assertOp(t, opSubscribe, err)
				assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
				assert.False(t, fleetprov.Retryable(err))
				synctest.Wait() // what was sent is read
				assert.Equal(t, []fleetprovtest.Op{opConnect, opSubscribe, opCreate}, asked(server), "nothing is registered")
			})
		})
	}
	t.Run("of one filter, while the others are granted and answered on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server, provisioner := provtest.OnPipes(t, pipelined)
			server.Inject(opSubscribe, fleetprovtest.Fault{Delay: time.Second, Response: []byte{0x90, 6, 0, 1, 1, 1, 1, 0x80}})
			_, err := provisioner.Provision(t.Context(), nil)
			assertOp(t, opSubscribe, err)
			assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
		})
	})
}

// However a pipelined attempt fails, those after it wait for the SUBACK: no more
// than one certificate is lost by it.
func TestOnlyOneRequestOfARunGoesAhead(t *testing.T) {
	refused := fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{}}
	always := fleetprov.WithRetryIf(func(error) bool { return true })
	for _, test := range []struct {
		name     string
		op       fleetprovtest.Op
		fault    fleetprovtest.Fault
		firstTry []fleetprovtest.Op // what the server sees of it
	}{
		{"the answer is lost", opCreate, fleetprovtest.Fault{Drop: true}, []fleetprovtest.Op{opConnect, opSubscribe, opCreate}},
		{"the connection is, with the answer", opCreate, fleetprovtest.Fault{Disconnect: true}, []fleetprovtest.Op{opConnect, opSubscribe, opCreate}},
		{"the SUBACK is lost", opSubscribe, fleetprovtest.Fault{Drop: true}, []fleetprovtest.Op{opConnect, opSubscribe, opCreate}},
		{"the SUBACK refuses", opSubscribe, refused, []fleetprovtest.Op{opConnect, opSubscribe, opCreate}},
		{"the request is refused", opCreate, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 429}}, []fleetprovtest.Op{opConnect, opSubscribe, opCreate}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, pipelined, always)
				server.Inject(test.op, test.fault)
				if test.op != opSubscribe {
					server.Inject(opSubscribe, fleetprovtest.Fault{}) // of the first attempt
				}
				server.Inject(opSubscribe, refused) // of the second
				server.Inject(opSubscribe, refused) // of the third
				_, err := provisioner.Provision(t.Context(), nil)
				require.NoError(t, err)
				waits := []fleetprovtest.Op{opConnect, opSubscribe}
				var expected []fleetprovtest.Op
				for _, attempt := range [][]fleetprovtest.Op{test.firstTry, waits, waits, {opConnect, opSubscribe, opCreate, opRegister}} {
					expected = append(expected, attempt...)
				}
				assert.Equal(t, expected, asked(server))
				assert.LessOrEqual(t, len(server.Certificates()), 2)
			})
		})
	}
}

// An attempt that did not get as far leaves it to the next one.
func TestPipeliningOnceThereIsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, pipelined)
		server.Inject(opConnect, fleetprovtest.Fault{Disconnect: true})
		server.Inject(opSubscribe, fleetprovtest.Fault{Delay: 3 * time.Second})
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		requests := server.Requests()
		require.Equal(t, []fleetprovtest.Op{opConnect, opConnect, opSubscribe, opCreate, opRegister}, asked(server))
		assert.Equal(t, requests[2].Time, requests[3].Time)
	})
}

// An answer that never comes, as to a request that was handled before the
// subscription was in effect, is the end of the Create step.
func TestPipelinedRequestThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, pipelined, provtest.OneAttempt, fleetprov.WithStepTimeout(7*time.Second))
		server.Inject(opSubscribe, fleetprovtest.Fault{Delay: 3 * time.Second})
		server.Inject(opCreate, fleetprovtest.Fault{Drop: true})
		began := time.Now()
		_, err := provisioner.Provision(t.Context(), nil)
		assertOp(t, opCreate, err)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.ErrorContains(t, err, "iot:Receive on topic/$aws/certificates/create/*")
		assert.Equal(t, 10*time.Second, time.Since(began), "each step has its own time")
	})
}

// Which of the two was forbidden cannot be told: the error names both.
func TestPipelinedConnectionClosedWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, pipelined)
		provision := func() string {
			server.Inject(opSubscribe, fleetprovtest.Fault{Disconnect: true, Delay: time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := provisioner.Provision(ctx, nil)
			assertOp(t, opSubscribe, err)
			assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
			return err.Error()
		}
		text := provision()
		assert.Contains(t, text, "iot:Subscribe on topicfilter/$aws/certificates/create/* and topicfilter/$aws/provisioning-templates/test-template/provision/*")
		assert.Contains(t, text, "iot:Publish on topic/$aws/certificates/create/*")
	})
}

// Pipelining changes nothing that is reported.
func TestReportsOfAPipelinedRunKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []string
		server, provisioner := provtest.OnPipes(t, pipelined, fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
			what := "begins"
			if p.Done {
				what = fmt.Sprint("took ", p.Elapsed)
			}
			reports = append(reports, fmt.Sprint(p.Op, " ", what))
		}))
		server.Inject(opSubscribe, fleetprovtest.Fault{Delay: time.Second})
		server.Inject(opCreate, fleetprovtest.Fault{Delay: 3 * time.Second})
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, []string{
			"Connect begins", "Connect took 0s",
			"Subscribe begins", "Subscribe took 1s",
			"CreateKeysAndCertificate begins", "CreateKeysAndCertificate took 2s",
			"RegisterThing begins", "RegisterThing took 0s",
		}, reports)
	})
}

// The network does not wait for a key that is slow, and nothing fails.
func TestKeyThatIsNotMadeYetIsNotPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := &devicekeySigner{devicekeyP256(t), func() error { <-time.After(2 * time.Second); return nil }}
		server, provisioner := provtest.OnPipes(t, pipelined, fleetprov.WithPrivateKey(key))
		server.Inject(opSubscribe, fleetprovtest.Fault{Delay: time.Second})
		began := time.Now()
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second, time.Since(began), "the SUBACK and the key are waited for at once")
	})
}

// A certificate that a journal holds is registered when the SUBACK has come.
func TestResumedRegistrationIsNotPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, pipelined)
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		before := len(server.Requests())
		server.Inject(opSubscribe, fleetprovtest.Fault{Delay: time.Second})
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Len(t, server.Certificates(), 1)
		requests := server.Requests()[before:]
		require.Len(t, requests, 3)
		assert.Equal(t, opRegister, requests[2].Op)
		assert.Equal(t, time.Second, requests[2].Time.Sub(requests[0].Time))
	})
}

// A token that is refused starts over, pipelined.
func TestStartingOverIsPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, pipelined)
		store := provtest.NewMemStore()
		interrupted(t, server, provisioner, store)
		before := len(server.Requests())
		<-time.After(2 * time.Hour)
		server.Inject(opSubscribe, fleetprovtest.Fault{})
		server.Inject(opSubscribe, fleetprovtest.Fault{Delay: time.Second})
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		requests := server.Requests()[before:]
		require.Len(t, requests, 7)
		assert.Equal(t, opCreate, requests[5].Op)
		assert.Equal(t, requests[4].Time, requests[5].Time)
		assert.Len(t, server.Things(), 1)
	})
}

func TestRenewIsPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, pipelined, fleetprov.WithVerification())
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		before := len(server.Requests())
		server.Inject(opSubscribe, fleetprovtest.Fault{Delay: time.Second})
		second, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, second.PreviousCertificateID)
		requests := server.Requests()[before:]
		assert.Equal(t, requests[1].Time, requests[2].Time)
		assert.Len(t, server.Certificates(), 2)
	})
}
