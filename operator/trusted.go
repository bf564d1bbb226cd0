package operator

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"

	"github.com/fleetprov/fleetprov"
)

// TrustedClaim gets a claim for one device that is being installed, from AWS's
// CreateProvisioningClaim ("provisioning by trusted user"). It is valid for five minutes and
// for this template only, and needs no policy. The caller, who is trusted, has AWS
// credentials with the right to iot:CreateProvisioningClaim; the device has none.
//
// The end of the certificate bounds the run: [fleetprov.Provisioner.Provision] fails with a
// claim that has expired. AWS names the end of the claim apart from that: a run that must not
// outlast it wants a context with a deadline of five minutes, or [NewTrustedClaim], whose claim
// says when. So does a back end that hands the claim on to a device.
func TrustedClaim(ctx context.Context, config aws.Config, template string) (*fleetprov.Identity, error) {
	claim, err := NewTrustedClaim(ctx, config, template)
	if err != nil {
		return nil, err
	}
	return claim.Identity()
}

// NewTrustedClaim does what [TrustedClaim] does, and returns the claim in a form that can be
// sent to the device: [Claim.PFX] or [Claim.PEM], over a channel that nobody else reads.
func NewTrustedClaim(ctx context.Context, config aws.Config, template string) (*Claim, error) {
	if !templateName.MatchString(template) {
		return nil, fmt.Errorf("the template's name %q must be 1 to 36 letters, digits, _ and -", template)
	}
	if err := checkConfig(ctx, config); err != nil {
		return nil, err
	}
	made, err := iot.NewFromConfig(config).CreateProvisioningClaim(ctx, &iot.CreateProvisioningClaimInput{TemplateName: &template})
	if isAbsent(err) {
		return nil, fmt.Errorf("there is no template %s in %s: make it with setup, or check its name and the region: %w", template, config.Region, explain(err))
	}
	if err != nil {
		return nil, explain(err)
	}
	return newTrustedClaim(made)
}

func newTrustedClaim(made *iot.CreateProvisioningClaimOutput) (*Claim, error) {
	if made.KeyPair == nil || made.Expiration == nil {
		return nil, errors.New("AWS IoT sent no key with the claim, or no time when it expires")
	}
	pair, err := tls.X509KeyPair([]byte(aws.ToString(made.CertificatePem)), []byte(aws.ToString(made.KeyPair.PrivateKey)))
	if err != nil {
		return nil, fmt.Errorf("the claim that AWS IoT sent: %w", err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the claim that AWS IoT sent has a key that cannot sign")
	}
	return &Claim{
		CertificateID: aws.ToString(made.CertificateId),
		Expires:       *made.Expiration,
		certificate:   pair.Leaf,
		key:           &claimKey{signer},
	}, nil
}
