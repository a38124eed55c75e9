//go:build tools

// Package tools pins the programs that the tests of the charts need and that share their libraries.
package tools

import (
	_ "helm.sh/helm/v3/cmd/helm"
	_ "helm.sh/helm/v4/cmd/helm"
	_ "sigs.k8s.io/metrics-server/cmd/metrics-server"
)
