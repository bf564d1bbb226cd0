package rules_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// examples/aws names the rights that its commands need, and no others.
func TestPageOfAWSNamesTheRightsOfItsCommands(t *testing.T) {
	const page = "examples/aws/README.md"
	needed := map[string]bool{"iam:PassRole": true} // of whoever hands a role on
	for _, block := range blocks(t, page, "sh") {
		for _, command := range regexp.MustCompile(`\baws (iot|iam|lambda) ([a-z-]+)`).FindAllStringSubmatch(block, -1) {
			action := ""
			for _, word := range strings.Split(command[2], "-") {
				action += strings.ToUpper(word[:1]) + word[1:]
			}
			needed[command[1]+":"+action] = true
		}
	}
	named := make(map[string]bool)
	for _, right := range regexp.MustCompile("`((?:iot|iam|lambda):[A-Z][A-Za-z]+)`").FindAllStringSubmatch(read(t, page), -1) {
		named[right[1]] = true
	}
	assert.Equal(t, slices.Sorted(maps.Keys(needed)), slices.Sorted(maps.Keys(named)))
}
