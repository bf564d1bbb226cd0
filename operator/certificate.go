package operator

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

// certificateID returns the id in the ARN of a certificate.
func certificateID(arn string) (id string, ok bool) {
	_, id, ok = strings.Cut(arn, ":cert/")
	return id, ok
}

var certificateIDs = regexp.MustCompile(`^[0-9a-f]{64}$`)

// checkCertificateID returns an id in lower case.
func checkCertificateID(given string) (string, error) {
	id := strings.ToLower(strings.TrimSpace(given))
	if !certificateIDs.MatchString(id) {
		return "", fmt.Errorf("%q is not the id of a certificate, which has 64 hex digits", given)
	}
	return id, nil
}

// thingsOf returns the names of the things that a certificate is attached to.
func (a *Account) thingsOf(ctx context.Context, id string) ([]string, error) {
	arn := a.certificateARN(id)
	var things []string
	pages := iot.NewListPrincipalThingsPaginator(a.iot, &iot.ListPrincipalThingsInput{Principal: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, presentOr(err)
		}
		things = append(things, page.Things...)
	}
	return things, nil
}

// certificatesOf returns the ids of the certificates of a thing.
func (a *Account) certificatesOf(ctx context.Context, thing string) ([]string, error) {
	var ids []string
	pages := iot.NewListThingPrincipalsPaginator(a.iot, &iot.ListThingPrincipalsInput{ThingName: &thing})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, principal := range page.Principals {
			if id, ok := certificateID(principal); ok {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// removeCertificate deactivates and deletes a certificate. Its policies stay attached until
// it is gone, so that it is found by them if this is cut off.
func (a *Account) removeCertificate(ctx context.Context, id string) error {
	if err := a.setStatus(ctx, id, types.CertificateStatusInactive); err != nil {
		return presentOr(err)
	}
	things, err := a.thingsOf(ctx, id)
	if err != nil {
		return err
	}
	arn := a.certificateARN(id)
	for _, thing := range things {
		_, err := a.iot.DetachThingPrincipal(ctx, &iot.DetachThingPrincipalInput{ThingName: &thing, Principal: &arn})
		if presentOr(err) != nil {
			return err
		}
	}
	return a.eventually(ctx, func() error {
		_, err := a.iot.DeleteCertificate(ctx, &iot.DeleteCertificateInput{CertificateId: &id, ForceDelete: true})
		return presentOr(err)
	}, conflicts...)
}

// status returns the status of a certificate, "" if there is no such certificate.
func (a *Account) status(ctx context.Context, id string) (types.CertificateStatus, error) {
	found, err := a.iot.DescribeCertificate(ctx, &iot.DescribeCertificateInput{CertificateId: &id})
	if err != nil {
		return "", presentOr(err)
	}
	return found.CertificateDescription.Status, nil
}

func (a *Account) setStatus(ctx context.Context, id string, status types.CertificateStatus) error {
	_, err := a.iot.UpdateCertificate(ctx, &iot.UpdateCertificateInput{CertificateId: &id, NewStatus: status})
	return err
}
