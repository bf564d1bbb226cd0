package link

import (
	"crypto"
	"crypto/tls"
	"io"
)

// presented is a certificate in one handshake, which alone may use it. It keeps what
// crypto/tls tells in texts only.
type presented struct {
	certificate *tls.Certificate
	keyErr      error // what its key said instead of signing
	unsuited    error // why the server takes no signature of its key
}

func present(certificate *tls.Certificate) *presented {
	p := &presented{certificate: certificate}
	signer, ok := certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return p
	}
	watched := *certificate
	watched.PrivateKey = &watchedSigner{signer, p}
	if messages, ok := signer.(crypto.MessageSigner); ok {
		watched.PrivateKey = &watchedMessageSigner{messages, p}
	}
	p.certificate = &watched
	return p
}

// get is the GetClientCertificate of the handshake.
func (p *presented) get(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	anyAuthority := *request
	anyAuthority.AcceptableCAs = nil
	p.unsuited = anyAuthority.SupportsCertificate(p.certificate)
	return p.certificate, nil
}

// watchedSigner tells what its key says instead of signing.
type watchedSigner struct {
	crypto.Signer
	presented *presented
}

func (s *watchedSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := s.Signer.Sign(random, digest, opts)
	s.presented.keyErr = err
	return signature, err
}

// watchedMessageSigner is one whose key hashes by itself, which crypto/tls then has
// it do.
type watchedMessageSigner struct {
	crypto.MessageSigner
	presented *presented
}

func (s *watchedMessageSigner) SignMessage(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := s.MessageSigner.SignMessage(random, message, opts)
	s.presented.keyErr = err
	return signature, err
}
