package operator

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// waits are the pauses between attempts at what AWS refuses for as long as an earlier change
// is not known everywhere. AWS says that this takes seconds and gives no number.
var waits = []time.Duration{1, 2, 4, 8, 16}

// eventually calls do again while it fails with one of the codes.
func (a *Account) eventually(ctx context.Context, do func() error, codes ...string) error {
	for _, seconds := range waits {
		err := do()
		if err == nil || !isCode(err, codes...) {
			return err
		}
		if a.pause(ctx, seconds*time.Second) != nil {
			return err
		}
	}
	return do()
}

// onlyThrottled repeats a request only if AWS says that it has not carried it out. It is for
// operations that would do their work twice.
type onlyThrottled struct{ aws.Retryer }

func (r onlyThrottled) IsErrorRetryable(err error) bool {
	return retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}.IsErrorThrottle(err) == aws.TrueTernary
}
