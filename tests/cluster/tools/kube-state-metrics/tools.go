//go:build tools

// Package tools pins kube-state-metrics, which shows MailTopics to Prometheus in one of the tests.
package tools

import _ "k8s.io/kube-state-metrics/v2"
