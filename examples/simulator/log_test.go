package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestALogLineIsShort(t *testing.T) {
	var log bytes.Buffer
	newLogger(&log).Warn("refused", "client", "0001\n", "reason", "the policy denies iot:Connect")
	assert.Regexp(t, `^time=\d\d:\d\d:\d\d msg=refused client="0001\\n" reason="the policy denies iot:Connect"\n$`, log.String())
}
