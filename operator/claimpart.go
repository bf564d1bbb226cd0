package operator

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

// claim is a claim with its policy, and its files on this machine. It is made inactive and
// without a policy first, so that one whose making was cut off is of no use to anybody.
type claim struct {
	*Account
	policy string
	files  claimFiles
	root   *x509.Certificate // nil: Amazon's
}

func (c claim) owner() owner { return owner{c.id, c.region, c.policy} }

func (c claim) String() string { return "claim for " + c.files.pfx }

// look is content with any claim of the policy: its file may be in a safe by now, and one that
// is inactive was made so, since what is not complete has a file of its own.
func (c claim) look(ctx context.Context) error {
	if _, err := os.Stat(c.files.pending()); err == nil {
		return errAbsent
	}
	ids, err := c.certificatesWith(ctx, c.policy)
	if err != nil {
		return err
	}
	for _, id := range ids {
		status, err := c.status(ctx, id)
		if err != nil || status == types.CertificateStatusActive {
			return err
		}
	}
	if len(ids) > 0 {
		return remark("none is active, and no device can provision itself with one: make another with claim, or activate one")
	}
	if err := c.files.check(); err != nil {
		return err
	}
	return errAbsent
}

func (c claim) create(ctx context.Context) error {
	_, err := c.make(ctx)
	return err
}

// make makes the claim, or completes the one that was being made.
func (c claim) make(ctx context.Context) (*Claim, error) {
	if err := c.files.check(); err != nil {
		return nil, err
	}
	key, err := c.files.key(c.owner())
	if err != nil {
		return nil, err
	}
	made, err := c.certificate(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("%w (its key is in %s: run it again with the same file, and it goes on)", err, c.files.pending())
	}
	if err := c.files.write(made, c.root); err != nil {
		return nil, err
	}
	if err := c.activate(ctx, made.CertificateID); err != nil {
		return nil, fmt.Errorf("the claim %s is not complete: %w (run it again with the same file, and it goes on)", made.CertificateID, err)
	}
	return made, os.Remove(c.files.pending())
}

// certificate returns the certificate of a key, which an earlier attempt may have made.
func (c claim) certificate(ctx context.Context, key pendingKey) (*Claim, error) {
	made, err := c.find(ctx, key)
	if made != nil || err != nil {
		return made, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "fleetprov claim"}}, key.signer)
	if err != nil {
		return nil, err
	}
	answer, err := c.iot.CreateCertificateFromCsr(ctx, &iot.CreateCertificateFromCsrInput{
		CertificateSigningRequest: aws.String(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}))),
		SetAsActive:               false,
	}, func(o *iot.Options) { o.Retryer = onlyThrottled{o.Retryer} }) // it makes another certificate each time
	if err != nil {
		return nil, err
	}
	return newClaim(aws.ToString(answer.CertificateId), aws.ToString(answer.CertificatePem), key)
}

func newClaim(id, text string, key pendingKey) (*Claim, error) {
	certificate, err := parseCertificate(text)
	if err != nil {
		return nil, err
	}
	c := &Claim{CertificateID: id, certificate: certificate, key: &claimKey{key.signer}}
	_, err = c.Identity() // which fails unless the key is the certificate's
	return c, err
}

// clockDifference is how much this machine's clock may be behind AWS's.
const clockDifference = time.Hour

// find looks for the certificate of a key among those that were made since the key was. It
// returns nil if there is none.
func (c claim) find(ctx context.Context, key pendingKey) (*Claim, error) {
	if key.begun.IsZero() {
		return nil, nil
	}
	pages := iot.NewListCertificatesPaginator(c.iot, &iot.ListCertificatesInput{AscendingOrder: false})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, candidate := range page.Certificates {
			if candidate.CreationDate == nil || candidate.CreationDate.Before(key.begun.Add(-clockDifference)) {
				continue // the order of the list is AWS's affair
			}
			found, err := c.compare(ctx, aws.ToString(candidate.CertificateId), key)
			if found != nil || err != nil {
				return found, err
			}
		}
	}
	return nil, nil
}

// compare returns a certificate as a claim, or nil if it is of another key.
func (c claim) compare(ctx context.Context, id string, key pendingKey) (*Claim, error) {
	described, err := c.iot.DescribeCertificate(ctx, &iot.DescribeCertificateInput{CertificateId: &id})
	if err != nil {
		return nil, presentOr(err)
	}
	found, err := newClaim(id, aws.ToString(described.CertificateDescription.CertificatePem), key)
	if err != nil {
		return nil, nil
	}
	return found, nil
}

func (c claim) activate(ctx context.Context, id string) error {
	_, err := c.iot.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: &c.policy, Target: aws.String(c.certificateARN(id))})
	if err != nil {
		return err
	}
	return c.setStatus(ctx, id, types.CertificateStatusActive)
}

// remove ends all claims of the policy, and one whose making was cut off. The files stay.
func (c claim) remove(ctx context.Context) error {
	if err := c.removePending(ctx); err != nil {
		return err
	}
	ids, err := c.certificatesWith(ctx, c.policy)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := c.removeCertificate(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// unfinished returns the fleet's other claims whose making was cut off, and that were to be
// in the same directory.
func (c claim) unfinished() []claim {
	var all []claim
	for _, files := range c.files.others(c.owner()) {
		all = append(all, claim{c.Account, c.policy, files, c.root})
	}
	return all
}

func (c claim) removePending(ctx context.Context) error {
	key, err := c.files.readPending()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	found, err := c.find(ctx, key)
	if err != nil {
		return err
	}
	if found != nil {
		if err := c.removeCertificate(ctx, found.CertificateID); err != nil {
			return err
		}
	}
	return os.Remove(c.files.pending())
}

// NewClaim makes another claim of the fleet, such as for the next batch, and writes it to
// file, a PFX, and its password to the file of the same name that ends in .password. It goes
// on with one whose making was cut off. root is as for [Claim.PFX].
func (a *Account) NewClaim(ctx context.Context, f Fleet, file string, root *x509.Certificate) (*Claim, error) {
	f, err := f.complete()
	if err != nil {
		return nil, err
	}
	if _, err := a.policyDocument(ctx, f.Names.ClaimPolicy); err != nil {
		if isAbsent(err) {
			return nil, fmt.Errorf("there is no policy %s for it: run setup first: %w", f.Names.ClaimPolicy, explain(err))
		}
		return nil, explain(err)
	}
	made, err := claim{a, f.Names.ClaimPolicy, claimFiles{file}, root}.make(ctx)
	return made, explain(err)
}

// DeactivateClaim ends a claim of the fleet: devices that have it cannot provision
// themselves any more. Those that have done so are not concerned. An inactive claim can be
// made active again until [Account.PlanTeardown] deletes it.
func (a *Account) DeactivateClaim(ctx context.Context, f Fleet, id string) error {
	f, err := f.complete()
	if err != nil {
		return err
	}
	if id, err = checkCertificateID(id); err != nil {
		return err
	}
	is, err := a.isClaim(ctx, f, id)
	if err != nil {
		return explain(err)
	}
	if !is {
		return fmt.Errorf("the certificate %s is no claim of the fleet: the policy %s is not attached to it", id, f.Names.ClaimPolicy)
	}
	return explain(a.setStatus(ctx, id, types.CertificateStatusInactive))
}

func (a *Account) isClaim(ctx context.Context, f Fleet, id string) (bool, error) {
	names, err := a.policiesOf(ctx, id)
	for _, name := range names {
		if name == f.Names.ClaimPolicy {
			return true, nil
		}
	}
	return false, err
}

// policiesOf returns the names of the policies that are attached to a certificate, none if
// there is no such certificate.
func (a *Account) policiesOf(ctx context.Context, id string) ([]string, error) {
	arn := a.certificateARN(id)
	var names []string
	pages := iot.NewListAttachedPoliciesPaginator(a.iot, &iot.ListAttachedPoliciesInput{Target: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, presentOr(err)
		}
		for _, attached := range page.Policies {
			names = append(names, aws.ToString(attached.PolicyName))
		}
	}
	return names, nil
}

// remains returns errAbsent if there is neither a claim nor one whose making was cut off.
func (c claim) remains(ctx context.Context) error {
	if _, err := os.Stat(c.files.pending()); err == nil {
		return nil
	}
	ids, err := c.certificatesWith(ctx, c.policy)
	if err == nil && len(ids) == 0 {
		return errAbsent
	}
	return err
}
