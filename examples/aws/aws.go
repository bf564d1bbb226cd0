// Package aws holds the documents that set a fleet up in an AWS account: see README.md,
// and beside it each file. It is for programs of operators. A device needs none of this.
package aws

import "embed"

// Documents are the files that README.md names, as they are: REGION and ACCOUNT_ID in the
// policies are to be replaced.
//
//go:embed *.json *.py serial-numbers.txt
var Documents embed.FS
