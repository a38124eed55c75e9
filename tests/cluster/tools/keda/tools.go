//go:build tools

// Package tools pins KEDA, which scales the senders of MailTopics in one of the tests.
package tools

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)
